import type { Schemas } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { useMutation } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import { Cancel, Dialog } from "../components/dialog";
import { messageOf } from "../components/form";
import { Notice } from "../components/notice";
import { useI18n } from "../i18n";
import { ChangePassword } from "./password";

/** Secures the account after a question, then shows the receipt and asks for a new password. */
export function Report({ onClose }: { onClose: () => void }) {
  const i18n = useI18n();
  const { t } = i18n;
  const { client } = useAuth();
  const report = useMutation({
    mutationFn: () => client.request<Schemas["ReportReceipt"]>("POST", "/auth/activity/report"),
  });
  return (
    <Dialog title={t(report.data ? "story.receipt_title" : "story.report_title")} onClose={onClose} className="large">
      {report.data ? (
        <Receipt receipt={report.data} onClose={onClose} />
      ) : (
        <>
          <ul>
            <li>{t("story.report_ends")}</li>
            <li>{t("story.report_forgets")}</li>
            <li>{t("story.report_links")}</li>
            <li>{t("story.report_password")}</li>
          </ul>
          {report.error && <Notice kind="bad">{messageOf(report.error, i18n)}</Notice>}
          <div className="actions">
            <button
              type="button"
              className="button danger"
              aria-disabled={report.isPending}
              onClick={() => !report.isPending && report.mutate()}
            >
              {t("story.report_submit")}
            </button>
            <Cancel onClick={onClose} />
          </div>
        </>
      )}
    </Dialog>
  );
}

function Receipt({ receipt, onClose }: { receipt: Schemas["ReportReceipt"]; onClose: () => void }) {
  const { t, n, dateTime } = useI18n();
  const begin = useRef<HTMLDivElement>(null);
  // The button that was pressed is gone; what it has done is read out.
  useEffect(() => begin.current?.focus(), []);
  return (
    <>
      <div className="notice done" tabIndex={-1} ref={begin}>
        <p>
          <strong>{t("story.receipt", { number: receipt.receipt, time: dateTime(receipt.at) })}</strong>
        </p>
        <p>{t("story.receipt_keep")}</p>
        <p>
          {n("story.receipt_sessions", receipt.revoked)} {n("story.receipt_devices", receipt.forgotten)}
        </p>
      </div>
      <h3>{t("story.receipt_next")}</h3>
      <ChangePassword />
      <div className="actions">
        <button type="button" className="button quiet" onClick={onClose}>
          {t("dialog.close")}
        </button>
      </div>
    </>
  );
}
