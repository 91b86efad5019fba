{{- define "josoor-auth.name" -}}
{{- contains .Chart.Name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "josoor-auth.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "josoor-auth.labels" -}}
{{ include "josoor-auth.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "josoor-auth.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}{{ else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- /* Values that contradict each other are refused here, before anything is installed. */ -}}
{{- define "josoor-auth.check" -}}
{{- $keys := empty .Values.secret.name | ternary dict .Values.secret.keys }}
{{- $database := or (get $keys "DATABASE_URL") (hasKey .Values.settings "DATABASE_URL") }}
{{- $redis := or (get $keys "REDIS_URL") (hasKey .Values.settings "REDIS_URL") }}
{{- if and (gt (int .Values.replicas) 1) (not (and $database $redis)) }}
{{- fail "replicas: more than one takes PostgreSQL and Redis; name a Secret with DATABASE_URL and REDIS_URL in secret.name, or set replicas: 1" }}
{{- end }}
{{- if and (gt (int .Values.replicas) 1) .Values.persistence.enabled }}
{{- fail "persistence.enabled: a volume is for SQLite, which is for one pod; set replicas: 1, or persistence.enabled: false" }}
{{- end }}
{{- if and (not $database) (not .Values.persistence.enabled) }}
{{- fail "without DATABASE_URL the accounts are in an SQLite file and would be lost with the pod: set persistence.enabled: true, or name a Secret with DATABASE_URL in secret.name" }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) }}
{{- fail "ingress.host: name the host of publicUrl" }}
{{- end }}
{{- end }}
