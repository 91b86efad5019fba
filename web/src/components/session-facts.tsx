import type { Session } from "@josoor/auth";
import { useI18n } from "../i18n";
import { DeviceIcon } from "./device-icon";
import { deviceName } from "./device-name";
import { Code, Time } from "./values";

/** A session that did something in the last minutes is in use as far as anybody can tell. */
const ACTIVE_NOW = 3 * 60_000;

export function SessionFacts({ session }: { session: Session }) {
  const i18n = useI18n();
  const { t, date } = i18n;
  const isActive = Date.now() - new Date(session.last_seen_at).getTime() < ACTIVE_NOW;
  return (
    <>
      <DeviceIcon device={session.device} />
      <div>
        <h2>
          <bdi>{deviceName(i18n, session.device)}</bdi>{" "}
          {session.current && <span className="badge good">{t("sessions.current")}</span>}
        </h2>
        <p className="small">
          {isActive ? (
            t("sessions.active_now")
          ) : (
            <>
              {t("sessions.last_active")} <Time at={session.last_seen_at} />
            </>
          )}
          {" · "}
          {t("sessions.since", { date: date(session.created_at) })}
          {session.ip && (
            <>
              {" · "}
              <span className="visually-hidden">{t("field.ip")}: </span>
              <Code>{session.ip}</Code>
            </>
          )}
        </p>
        <details className="small">
          <summary>{t("list.details")}</summary>
          <p>
            <Code>{session.user_agent}</Code>
          </p>
        </details>
      </div>
    </>
  );
}
