import type { Session } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { useEffect, useState } from "react";
import { config } from "../config";
import { useI18n } from "../i18n";
import { Dialog } from "./dialog";

/** How long before the end the user is asked, in seconds: WCAG 2.2.1 wants at least 20. */
const WARN = 120;
/** How often the end is asked for again, in milliseconds: what another tab does moves it. */
const POLL = 60_000;

/** When this session ends, on this machine's clock, which need not agree with the server's. */
async function endOfSession(fetchAuthed: typeof fetch, base: string): Promise<number | null> {
  const response = await fetchAuthed(`${base}/auth/sessions`);
  if (!response.ok) return null;
  const { items } = (await response.json()) as { items: Session[] };
  const current = items.find((session) => session.current);
  const servers = Date.parse(response.headers.get("date") ?? "");
  if (!current || Number.isNaN(servers)) return null;
  return Date.now() + (Date.parse(current.expires_at) - servers);
}

/** Asks, before the session ends by itself, whether it shall go on. Escape goes on. */
export function ExpiryWarning() {
  const { t, duration } = useI18n();
  const { client } = useAuth();
  const [end, setEnd] = useState<number | null>(null);
  const [now, setNow] = useState(Date.now);
  const left = end === null ? Number.POSITIVE_INFINITY : (end - now) / 1000;
  const isNear = left < WARN;
  useEffect(() => {
    let isCurrent = true;
    const poll = () => {
      if (document.visibilityState === "hidden") return;
      void endOfSession(client.fetch, config.base)
        .then((found) => isCurrent && found !== null && setEnd(found))
        .catch(() => {});
    };
    poll();
    const timer = setInterval(poll, POLL);
    return () => {
      isCurrent = false;
      clearInterval(timer);
    };
  }, [client]);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), isNear ? 1000 : 10_000);
    return () => clearInterval(timer);
  }, [isNear]);
  if (!isNear) return null;
  const stay = async () => {
    setEnd(null);
    await client.refresh().catch(() => {});
    // Signing in lasts no longer than its absolute end, however often it is refreshed: then the question is not asked again.
    const found = await endOfSession(client.fetch, config.base).catch(() => null);
    if (found !== null && found - Date.now() > WARN * 1000) setEnd(found);
  };
  // Said now and then, and at the end every second: a clock that speaks all the time cannot be listened to.
  const said = left <= 20 ? Math.ceil(left) : Math.ceil(left / 15) * 15;
  return (
    <Dialog title={t("expiry.title")} onClose={() => void stay()}>
      <p aria-hidden="true">{t("expiry.lead", { duration: duration(left) })}</p>
      <p className="visually-hidden" role="status">
        {t("expiry.lead", { duration: duration(said) })}
      </p>
      <div className="actions">
        <button type="button" className="button" onClick={() => void stay()}>
          {t("expiry.stay")}
        </button>
        <button type="button" className="button quiet" onClick={() => void client.logout()}>
          {t("layout.sign_out")}
        </button>
      </div>
    </Dialog>
  );
}
