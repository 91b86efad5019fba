import type { Session } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { useCallback, useEffect, useState } from "react";
import { config } from "../config";
import { useI18n } from "../i18n";
import { Dialog } from "./dialog";

/** How long before the end the user is asked, in seconds: WCAG 2.2.1 wants at least 20. */
const WARN = 120;
/** How often the end is asked for again, in milliseconds: what another tab does moves it. */
const POLL = 60_000;

/** How often the service is asked once the end is there, in milliseconds. */
const AFTER_END = 5000;

/** When this session ends, on this machine's clock, which need not agree with the server's. */
async function endOfSession(fetchAuthed: typeof fetch, base: string): Promise<number | null> {
  const response = await fetchAuthed(`${base}/auth/sessions?page_size=100`);
  if (!response.ok) return null;
  const { items } = (await response.json()) as { items: Session[] };
  const current = items.find((session) => session.current);
  const servers = Date.parse(response.headers.get("date") ?? "");
  if (!current || Number.isNaN(servers)) return null;
  return Date.now() + (Date.parse(current.expires_at) - servers);
}

/**
 * Asks, before the session ends by itself, whether it shall go on. Escape goes on. At the end nothing of the page is shown any more, and the
 * service is asked: either the session is over, which leads to the sign-in with the reason, or another tab has extended it.
 */
export function ExpiryWarning() {
  const { t, duration } = useI18n();
  const { client } = useAuth();
  const [end, setEnd] = useState<number | null>(null);
  const [now, setNow] = useState(Date.now);
  const [isAnswered, setAnswered] = useState(false);
  const left = end === null ? Number.POSITIVE_INFINITY : (end - now) / 1000;
  const isShown = left < WARN;
  const isOver = left <= 0;
  const poll = useCallback(async () => {
    const found = await endOfSession(client.fetch, config.base).catch(() => null);
    if (found !== null) setEnd(found);
  }, [client]);
  useEffect(() => {
    const pollShown = () => {
      if (document.visibilityState !== "hidden") void poll();
    };
    pollShown();
    const timer = setInterval(pollShown, POLL);
    return () => clearInterval(timer);
  }, [poll]);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), isShown ? 1000 : 10_000);
    return () => clearInterval(timer);
  }, [isShown]);
  useEffect(() => {
    if (!isOver) return;
    void poll();
    const timer = setInterval(() => void poll(), AFTER_END);
    return () => clearInterval(timer);
  }, [isOver, poll]);
  useEffect(() => {
    if (!isShown) setAnswered(false);
  }, [isShown]);
  if (isOver) {
    return (
      <Dialog title={t("expiry.over")} onClose={() => void poll()} className="opaque">
        <button type="button" className="button" onClick={() => void poll()}>
          {t("offline.retry")}
        </button>
      </Dialog>
    );
  }
  // A session lasts no longer than its absolute end, however often it is refreshed: the question is not asked again before it.
  if (!isShown || isAnswered) return null;
  const stay = async () => {
    setAnswered(true);
    await client.refresh().then(poll, () => {});
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
