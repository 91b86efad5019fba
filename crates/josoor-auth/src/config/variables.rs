//! The names of environment variables.

/// The names that some keys have elsewhere: on the platform, and in the specification of OpenTelemetry.
pub(super) const PLATFORM_VARIABLES: [(&str, &str); 21] = [
    ("DATABASE_URL", "database.url"),
    ("REDIS_URL", "redis.url"),
    ("MASTER_KEY", "keys.master_key"),
    ("JWT_SECRET", "auth.jwt_secret"),
    ("JWT_SECRET_PREVIOUS", "auth.jwt_secret_previous"),
    ("JWT_ALGORITHM", "auth.jwt_algorithm"),
    ("JWT_EXPIRATION_MINUTES", "auth.jwt_expiration_minutes"),
    ("BIND", "server.bind"),
    ("PORT", "server.port"),
    ("PUBLIC_URL", "server.public_url"),
    ("SMTP_URL", "mail.smtp_url"),
    ("MAIL_FROM", "mail.from"),
    ("CORS_ORIGINS", "server.cors_origins"),
    ("TRUSTED_PROXIES", "server.trusted_proxies"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "tracing.endpoint"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "tracing.protocol"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "tracing.headers"),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "tracing.certificate"),
    ("OTEL_TRACES_SAMPLER_ARG", "tracing.sample"),
    ("OTEL_SERVICE_NAME", "tracing.service_name"),
    ("OTEL_RESOURCE_ATTRIBUTES", "tracing.resource_attributes"),
];

/// Keys that are never shown whole and may come from `<VARIABLE>_FILE`.
const SECRET_KEYS: [&str; 8] = [
    "database.url",
    "redis.url",
    "keys.master_key",
    "auth.jwt_secret",
    "auth.jwt_secret_previous",
    "mail.smtp_url",
    "audit.webhook_secret",
    "tracing.headers",
];

pub(super) const PREFIX: &str = "JOSOOR_AUTH__";

/// Keys that are no secrets and hold one URL or address.
const URL_KEYS: [&str; 3] = ["server.public_url", "auth.issuer", "tracing.endpoint"];

/// Whether a value of this key with quotes or blanks around it is a mistake: nothing of them would be part of it.
pub(super) fn is_exact(key: &str) -> bool {
    is_secret(key) || URL_KEYS.contains(&key)
}

/// Whether a key is a secret.
pub(super) fn is_secret(key: &str) -> bool {
    SECRET_KEYS.contains(&key)
}

/// The key that a variable is named for, whether or not there is such a key.
pub(super) fn key_of_name(variable: &str) -> Option<String> {
    if let Some((_, key)) = PLATFORM_VARIABLES.iter().find(|(name, _)| *name == variable) {
        return Some((*key).to_owned());
    }
    let (section, key) = variable.strip_prefix(PREFIX)?.split_once("__")?;
    Some(format!("{section}.{key}").to_ascii_lowercase())
}

/// The name before `_FILE`, in either case, as the rest of a name is.
pub(super) fn strip_file_suffix(variable: &str) -> Option<&str> {
    let at = variable.len().checked_sub("_FILE".len())?;
    variable
        .get(at..)
        .filter(|suffix| suffix.eq_ignore_ascii_case("_FILE"))
        .and_then(|_| variable.get(..at))
}

/// The environment variable that sets a key: the platform's name if it has one.
pub(super) fn variable_of(key: &str) -> String {
    PLATFORM_VARIABLES
        .iter()
        .find(|(_, platform_key)| *platform_key == key)
        .map_or_else(|| long_variable_of(key), |(variable, _)| (*variable).to_owned())
}

/// `JOSOOR_AUTH__SECTION__KEY`.
pub(super) fn long_variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase().replace('.', "__"))
}
