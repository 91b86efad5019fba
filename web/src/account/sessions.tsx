import type { Session } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Result } from "../components/data";
import { Dialog } from "../components/dialog";
import { messageOf } from "../components/form";
import { Notice } from "../components/layout";
import { SessionFacts } from "../components/session";
import { useI18n } from "../i18n";

export function Sessions() {
  const i18n = useI18n();
  const { t, n } = i18n;
  const { client } = useAuth();
  const queries = useQueryClient();
  const sessions = useQuery({ queryKey: ["sessions"], queryFn: () => client.sessions.list(), refetchInterval: 30_000 });
  const [asked, setAsked] = useState<Session | "others" | null>(null);
  const [done, setDone] = useState<string | null>(null);
  const revoke = useMutation({
    mutationFn: async (what: Session | "others") => {
      if (what === "others") return n("sessions.ended_count", await client.sessions.revokeOthers());
      await client.sessions.revoke(what.id);
      return t("sessions.ended_one", { device: what.device });
    },
    onSuccess: (text) => {
      setDone(text);
      setAsked(null);
      return queries.invalidateQueries({ queryKey: ["sessions"] });
    },
  });
  return (
    <>
      <p>{t("sessions.lead")}</p>
      {done && <Notice kind="done">{done}</Notice>}
      <Result of={sessions}>
        {(items) => (
          <>
            <ul className="cards">
              {[...items]
                .sort((a, b) => Number(b.current) - Number(a.current))
                .map((session) => (
                  <li key={session.id} className="card row">
                    <SessionFacts session={session} />
                    {!session.current && (
                      <button
                        type="button"
                        className="button quiet"
                        aria-label={t("sessions.end_of", { device: session.device })}
                        onClick={() => setAsked(session)}
                      >
                        {t("sessions.end")}
                      </button>
                    )}
                  </li>
                ))}
            </ul>
            {items.length > 1 && (
              <button type="button" className="button danger" onClick={() => setAsked("others")}>
                {t("sessions.end_others")}
              </button>
            )}
          </>
        )}
      </Result>
      {asked && (
        <Dialog
          title={t("sessions.confirm_title")}
          onClose={() => {
            revoke.reset();
            setAsked(null);
          }}
        >
          <p>
            {asked === "others" ? t("sessions.confirm_others") : t("sessions.confirm_one", { device: asked.device })}
          </p>
          {revoke.error && <Notice kind="bad">{messageOf(revoke.error, i18n)}</Notice>}
          <div className="actions">
            <button
              type="button"
              className="button danger"
              aria-disabled={revoke.isPending}
              onClick={() => !revoke.isPending && revoke.mutate(asked)}
            >
              {t("sessions.confirm")}
            </button>
            <button type="button" className="button quiet" onClick={() => setAsked(null)}>
              {t("dialog.cancel")}
            </button>
          </div>
        </Dialog>
      )}
    </>
  );
}
