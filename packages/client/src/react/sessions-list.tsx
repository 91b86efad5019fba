import { type ReactNode, useCallback, useEffect, useRef, useState } from "react";
import type { Session } from "../index";
import { useAuth } from "./core";
import { useWords } from "./texts";

export interface SessionsListProps {
  className?: string;
}

/** The user's sessions; each can be ended after a question, and all but this one at once. */
export function SessionsList({ className }: SessionsListProps): ReactNode {
  const { client, status } = useAuth();
  const words = useWords();
  const { t } = words;
  const [sessions, setSessions] = useState<Session[] | null>(null);
  const [failure, setFailure] = useState<unknown>(null);
  const [asked, setAsked] = useState<Session | "others" | null>(null);
  const [done, setDone] = useState("");
  const [isPending, setPending] = useState(false);
  const question = useRef<HTMLDivElement>(null);
  const list = useRef<HTMLElement>(null);

  const load = useCallback(async () => {
    try {
      const found = await client.sessions.list();
      setSessions(found.sort((a, b) => Number(b.current) - Number(a.current)));
      setFailure(null);
    } catch (error) {
      setFailure(error);
    }
  }, [client]);
  useEffect(() => {
    if (status === "signed-in") void load();
  }, [status, load]);
  useEffect(() => {
    if (asked) question.current?.focus();
  }, [asked]);

  if (status !== "signed-in") return null;
  const nameOf = ({ device }: Session) => {
    if (device === "" || device === "Unknown device") return t("sessions.unknown");
    const [program, system] = device.split(" on ");
    return program && system ? t("sessions.device", { program, system }) : device;
  };
  const close = () => {
    setAsked(null);
    list.current?.focus();
  };
  const end = async (what: Session | "others") => {
    if (isPending) return;
    setPending(true);
    try {
      if (what === "others") await client.sessions.revokeOthers();
      else await client.sessions.revoke(what.id);
      setDone(what === "others" ? t("sessions.ended_others") : t("sessions.ended", { device: nameOf(what) }));
      close();
      await load();
    } catch (error) {
      setFailure(error);
    } finally {
      setPending(false);
    }
  };
  const others = sessions?.filter(({ current }) => !current) ?? [];
  return (
    <section
      className={`ja-sessions${className ? ` ${className}` : ""}`}
      aria-label={t("sessions.label")}
      ref={list}
      tabIndex={-1}
      lang={words.language}
      dir={words.dir}
    >
      <p className="ja-status" role="status">
        {sessions === null && failure === null ? t("sessions.loading") : done}
      </p>
      {failure !== null && (
        <div className="ja-problem" role="alert">
          <p>{words.messageOf(failure)}</p>
          <button type="button" className="ja-button" onClick={() => void load()}>
            {t("sessions.retry")}
          </button>
        </div>
      )}
      <ul>
        {sessions?.map((session) => (
          <li key={session.id}>
            <div>
              <strong>
                <bdi>{nameOf(session)}</bdi>
              </strong>{" "}
              {session.current && <span className="ja-badge">{t("sessions.current")}</span>}
              <p className="ja-hint">{t("sessions.last_active", { time: words.ago(session.last_seen_at) })}</p>
            </div>
            {!session.current && (
              <button
                type="button"
                aria-label={t("sessions.end_of", { device: nameOf(session) })}
                onClick={() => setAsked(session)}
              >
                {t("sessions.end")}
              </button>
            )}
          </li>
        ))}
      </ul>
      {others.length > 0 && (
        <button type="button" onClick={() => setAsked("others")}>
          {t("sessions.end_others")}
        </button>
      )}
      {asked && (
        <div className="ja-question" role="group" tabIndex={-1} ref={question} aria-labelledby="ja-question">
          <p id="ja-question">
            {asked === "others" ? t("sessions.confirm_others") : t("sessions.confirm", { device: nameOf(asked) })}
          </p>
          <button type="button" className="ja-button" aria-disabled={isPending} onClick={() => void end(asked)}>
            {t("sessions.yes")}
          </button>{" "}
          <button type="button" onClick={close}>
            {t("sessions.no")}
          </button>
        </div>
      )}
    </section>
  );
}
