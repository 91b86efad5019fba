import { useAuth } from "@josoor/auth/react";
import type { ReactNode } from "react";
import { at } from "../config";
import { useI18n } from "../i18n";

/** Something is on its way. Shown only after a moment: a flash of it would disturb more than it tells. */
export function Loading({ unreachable = "online" }: { unreachable?: "online" | "offline" | "unavailable" }) {
  const { t } = useI18n();
  const { client } = useAuth();
  if (unreachable !== "online") {
    return (
      <div className="card">
        <h1>{t("offline.title")}</h1>
        <p>{t(unreachable === "offline" ? "offline.no_network" : "offline.no_service")}</p>
        <button type="button" className="button" onClick={() => void client.refresh().catch(() => {})}>
          {t("offline.retry")}
        </button>
      </div>
    );
  }
  return (
    <p className="loading" role="status">
      <span className="spinner" aria-hidden="true" /> {t("layout.loading")}
    </p>
  );
}

/** A message of one kind: done, note or bad. */
export function Notice({
  kind = "note",
  title,
  children,
}: {
  kind?: "done" | "note" | "bad";
  title?: string;
  children?: ReactNode;
}) {
  return (
    <div className={`notice ${kind}`} role={kind === "bad" ? "alert" : "status"}>
      {title && <h2>{title}</h2>}
      {children}
    </div>
  );
}

/** Where mails are while no mail server is set up, on a developer's machine. */
export function MailHint({ isOn }: { isOn: boolean }) {
  const { t } = useI18n();
  return isOn ? (
    <p className="small">
      <a href={at("/dev/mail")} target="_blank" rel="noreferrer">
        {t("layout.dev_mail")}
      </a>
    </p>
  ) : null;
}
