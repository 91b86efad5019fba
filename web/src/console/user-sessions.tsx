import type { Session, User } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { useQuery } from "@tanstack/react-query";
import { MonitorSmartphone } from "lucide-react";
import { useState } from "react";
import { Cancel, Dialog } from "../components/dialog";
import { Empty } from "../components/empty";
import { Form } from "../components/form";
import { Result } from "../components/queries";
import { SessionFacts } from "../components/session-facts";
import { useI18n } from "../i18n";

export function UserSessions({ user, onDone }: { user: User; onDone: (text: string) => void }) {
  const i18n = useI18n();
  const { t, n } = i18n;
  const { client } = useAuth();
  const sessions = useQuery({
    queryKey: ["user-sessions", user.id],
    queryFn: () =>
      client.request<{ items: Session[]; total: number }>("GET", `/admin/users/${user.id}/sessions?page_size=100`),
  });
  const [isAsking, setAsking] = useState(false);
  return (
    <section aria-labelledby="sessions">
      <h2 id="sessions">{t("account.sessions")}</h2>
      <Result of={sessions}>
        {({ items }) =>
          items.length === 0 ? (
            <Empty icon={MonitorSmartphone}>{t("user.no_sessions")}</Empty>
          ) : (
            <>
              <ul className="cards">
                {items.map((session) => (
                  <li key={session.id} className="card row">
                    <SessionFacts session={session} />
                  </li>
                ))}
              </ul>
              <button type="button" className="button risky" onClick={() => setAsking(true)}>
                {t("user.end_sessions")}
              </button>
            </>
          )
        }
      </Result>
      {isAsking && (
        <Dialog title={t("user.end_sessions")} onClose={() => setAsking(false)}>
          <p>{t("user.end_sessions_lead", { email: user.email })}</p>
          <Form
            danger
            submit={t("user.end_sessions")}
            onSubmit={async () => {
              const { revoked } = await client.request<{ revoked: number }>(
                "DELETE",
                `/admin/users/${user.id}/sessions`,
              );
              setAsking(false);
              onDone(n("sessions.removed_count", revoked));
              await sessions.refetch();
            }}
            footer={<Cancel onClick={() => setAsking(false)} />}
          />
        </Dialog>
      )}
    </section>
  );
}
