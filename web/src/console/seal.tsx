import type { Schemas } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { useMutation } from "@tanstack/react-query";
import { ShieldCheck } from "lucide-react";
import { messageOf } from "../components/form";
import { Notice } from "../components/notice";
import { Code } from "../components/values";
import { useI18n } from "../i18n";

type Report = Schemas["AuditReport"];

/** Has the service check that no row of the audit trail was changed, removed or inserted. */
export function useSeal() {
  const { client } = useAuth();
  return useMutation({ mutationFn: () => client.request<Report>("POST", "/admin/audit/verify") });
}

export function SealButton({ seal }: { seal: ReturnType<typeof useSeal> }) {
  const { t } = useI18n();
  return (
    <button
      type="button"
      className="button quiet"
      aria-disabled={seal.isPending}
      onClick={() => !seal.isPending && seal.mutate()}
    >
      <ShieldCheck className="icon" />
      {t("seal.check")}
    </button>
  );
}

/** What the check has found. */
export function SealResult({ seal }: { seal: ReturnType<typeof useSeal> }) {
  const i18n = useI18n();
  const { t, n } = i18n;
  const report = seal.data;
  return (
    <div role="status">
      {seal.isPending && <p>{t("seal.checking")}</p>}
      {seal.error && <Notice kind="bad">{messageOf(seal.error, i18n)}</Notice>}
      {report && !seal.isPending && (
        <Notice kind={report.whole ? "done" : "bad"} title={t(report.whole ? "seal.whole" : "seal.broken")}>
          <p>
            {n("seal.checked", report.checked)} {report.rebased && t("seal.rebased", { place: report.rebased })}
          </p>
          {report.findings.length > 0 && (
            <ul lang="en" dir="ltr">
              {report.findings.map((finding) => (
                <li key={finding}>{finding}</li>
              ))}
            </ul>
          )}
          {report.findings_total > report.findings.length && (
            <p>{n("seal.more", report.findings_total - report.findings.length)}</p>
          )}
          {report.whole && report.head && (
            <>
              <p className="small">{t("seal.head")}</p>
              <p>
                <Code>{report.head}</Code>
              </p>
            </>
          )}
        </Notice>
      )}
    </div>
  );
}
