import { AuthError, type Session, type User } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useState } from "react";
import { Link, useLocation } from "wouter";
import { Cancel, Dialog } from "../components/dialog";
import { TextField } from "../components/fields";
import { Form } from "../components/form";
import { MailHint, Notice } from "../components/notice";
import { Page, useTitle } from "../components/page";
import { Result } from "../components/queries";
import { SessionFacts } from "../components/session-facts";
import { Code } from "../components/values";
import { config } from "../config";
import { LANGUAGES, useI18n } from "../i18n";
import { type AuditPage, AuditTable } from "./audit-table";
import { ConsoleNav } from "./nav";
import { type AdminUser, RoleSelect, StatusOf } from "./user-fields";

export function UserDetail({ id }: { id: string }) {
  const { client } = useAuth();
  const user = useQuery({
    queryKey: ["user", id],
    queryFn: () => client.request<AdminUser>("GET", `/admin/users/${encodeURIComponent(id)}`),
    retry: false,
  });
  return (
    <Page title={user.data ? undefined : "user.title"} wide nav={<ConsoleNav />}>
      <p>
        <Link href="/console/users">{useI18n().t("user.back")}</Link>
      </p>
      <Result of={user}>{(found) => <Detail user={found} />}</Result>
    </Page>
  );
}

function Detail({ user }: { user: AdminUser }) {
  const i18n = useI18n();
  const { t, dateTime } = i18n;
  const { client, user: me } = useAuth();
  const queries = useQueryClient();
  const [done, setDone] = useState<ReactNode>(null);
  useTitle(user.email);
  // The list of users shows the same account.
  const refresh = async () => {
    await Promise.all(
      [["user", String(user.id)], ["users"]].map((queryKey) => queries.invalidateQueries({ queryKey })),
    );
  };
  const isMe = user.id === me?.id;
  return (
    <>
      <h1>
        <bdi dir="ltr">{user.email}</bdi>
      </h1>
      <p>
        <StatusOf user={user} /> {isMe && <span className="badge">{t("users.you")}</span>}
      </p>
      {done && <Notice kind="done">{done}</Notice>}
      {(user.deleted_at || user.frozen_at) && <WayBack user={user} onChanged={refresh} onDone={setDone} />}
      <div className="pair">
        <section className="card" aria-labelledby="profile">
          <h2 id="profile">{t("account.profile")}</h2>
          <dl className="facts">
            <dt>{t("field.id")}</dt>
            <dd>
              <Code>{user.id}</Code> <Copy text={String(user.id)} />
            </dd>
            <dt>{t("field.language")}</dt>
            <dd>{LANGUAGES[user.locale]}</dd>
            <dt>{t("users.created")}</dt>
            <dd>{dateTime(user.created_at)}</dd>
            <dt>{t("users.updated")}</dt>
            <dd>{dateTime(user.updated_at)}</dd>
          </dl>
          <Form
            submit={t("profile.submit")}
            onSubmit={async ({ full_name = "", role }) => {
              setDone(null);
              try {
                await client.request<User>("PATCH", `/admin/users/${user.id}`, {
                  body: { full_name: full_name.trim() || null, role },
                });
              } finally {
                await refresh();
              }
              setDone(t("user.saved"));
            }}
          >
            <TextField
              key={user.full_name}
              name="full_name"
              label={t("field.full_name")}
              autoComplete="off"
              defaultValue={user.full_name ?? ""}
            />
            <RoleSelect name="role" value={user.role} />
            <p className="hint">{t("user.role_hint")}</p>
          </Form>
        </section>
        <section className="card" aria-labelledby="access">
          <h2 id="access">{t("user.access")}</h2>
          <p>{t("user.reset_lead")}</p>
          <Form
            submit={t("user.send_reset")}
            onSubmit={async () => {
              setDone(null);
              await client.request("POST", `/admin/users/${user.id}/password-reset`);
              setDone(
                <>
                  <p>{t("user.reset_sent", { email: user.email })}</p>
                  <MailHint isOn={config.devMail} />
                </>,
              );
            }}
          />
        </section>
      </div>
      <UserSessions user={user} onDone={setDone} />
      <UserActivity user={user} />
      {!user.deleted_at && <Danger user={user} onChanged={refresh} onDone={setDone} />}
    </>
  );
}

/** A deleted account that can be restored, or one whose owner has to recover it. */
function WayBack({
  user,
  onChanged,
  onDone,
}: {
  user: AdminUser;
  onChanged: () => Promise<void>;
  onDone: (text: string) => void;
}) {
  const { t, dateTime } = useI18n();
  const { client } = useAuth();
  const isDeleted = !!user.deleted_at;
  return (
    <Notice>
      <p>
        {isDeleted
          ? t("user.deleted_lead", { date: dateTime(user.deleted_at ?? ""), until: dateTime(user.purge_at ?? "") })
          : t("user.frozen_lead", { date: dateTime(user.frozen_at ?? "") })}
      </p>
      <Form
        submit={t(isDeleted ? "user.restore" : "user.release")}
        onSubmit={async () => {
          await client.request("POST", `/admin/users/${user.id}/restore`);
          onDone(t(isDeleted ? "user.restored" : "user.released"));
          await onChanged();
        }}
      />
    </Notice>
  );
}

function Copy({ text }: { text: string }) {
  const { t } = useI18n();
  const [isCopied, setCopied] = useState(false);
  return (
    <button
      type="button"
      className="link"
      onClick={() => void navigator.clipboard?.writeText(text).then(() => setCopied(true))}
    >
      <span role="status">{t(isCopied ? "user.copied" : "user.copy")}</span>
    </button>
  );
}

function UserSessions({ user, onDone }: { user: User; onDone: (text: string) => void }) {
  const i18n = useI18n();
  const { t, n } = i18n;
  const { client } = useAuth();
  const sessions = useQuery({
    queryKey: ["user-sessions", user.id],
    queryFn: () => client.request<{ items: Session[]; total: number }>("GET", `/admin/users/${user.id}/sessions`),
  });
  const [isAsking, setAsking] = useState(false);
  return (
    <section aria-labelledby="sessions">
      <h2 id="sessions">{t("account.sessions")}</h2>
      <Result of={sessions}>
        {({ items }) =>
          items.length === 0 ? (
            <p>{t("user.no_sessions")}</p>
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

/** The newest audit rows about the account. */
function UserActivity({ user }: { user: User }) {
  const { t } = useI18n();
  const { client } = useAuth();
  const rows = useQuery({
    queryKey: ["user-audit", user.id],
    queryFn: () => client.request<AuditPage>("GET", "/admin/audit", { query: { user_id: user.id, limit: 10 } }),
  });
  return (
    <section aria-labelledby="activity">
      <h2 id="activity">{t("account.activity")}</h2>
      <Result of={rows}>
        {({ items }) => (items.length === 0 ? <p>{t("activity.none")}</p> : <AuditTable rows={items} />)}
      </Result>
      <p>
        <Link href={`/console/audit?user_id=${user.id}`}>{t("user.all_activity")}</Link>
      </p>
    </section>
  );
}

/** What was typed to confirm is not what was asked for. */
const mismatch = (field: string) =>
  new AuthError({ kind: "validation", code: "validation_failed", errors: [{ field, code: "mismatch", message: "" }] });

function Danger({
  user,
  onChanged,
  onDone,
}: {
  user: User;
  onChanged: () => Promise<void>;
  onDone: (text: string) => void;
}) {
  const { t, duration } = useI18n();
  const { client } = useAuth();
  const [, navigate] = useLocation();
  const [asked, setAsked] = useState<"activation" | "deletion" | null>(null);
  const close = () => setAsked(null);
  return (
    <section className="card danger-zone" aria-labelledby="danger">
      <h2 id="danger">{t("user.danger")}</h2>
      <p>{t(user.is_active ? "user.deactivate_lead" : "user.activate_lead")}</p>
      <p>
        <button
          type="button"
          className={user.is_active ? "button risky" : "button"}
          onClick={() => setAsked("activation")}
        >
          {t(user.is_active ? "user.deactivate" : "user.activate")}
        </button>
      </p>
      <p>{t("user.delete_lead")}</p>
      <p>
        <button type="button" className="button risky" onClick={() => setAsked("deletion")}>
          {t("user.delete")}
        </button>
      </p>
      {asked === "activation" && (
        <Dialog title={t(user.is_active ? "user.deactivate" : "user.activate")} onClose={close}>
          <p>{t(user.is_active ? "user.deactivate_lead" : "user.activate_lead")}</p>
          <p>
            <Code>{user.email}</Code>
          </p>
          <Form
            danger={user.is_active}
            submit={t(user.is_active ? "user.deactivate" : "user.activate")}
            onSubmit={async () => {
              await client.request("PATCH", `/admin/users/${user.id}`, { body: { is_active: !user.is_active } });
              close();
              onDone(t(user.is_active ? "user.deactivated" : "user.activated"));
              await onChanged();
            }}
            footer={<Cancel onClick={close} />}
          />
        </Dialog>
      )}
      {asked === "deletion" && (
        <Dialog title={t("user.delete")} onClose={close}>
          <ul>
            <li>{t("delete.loses_account")}</li>
            <li>{t("delete.loses_sessions")}</li>
            <li>{t("delete.keeps_audit")}</li>
            <li>
              {config.deletionGrace > 0
                ? t("user.delete_undo", { duration: duration(config.deletionGrace) })
                : t("delete.no_return")}
            </li>
          </ul>
          <Form
            danger
            submit={t("user.delete")}
            onSubmit={async ({ confirm_email = "" }) => {
              if (confirm_email.trim() !== user.email) throw mismatch("confirm_email");
              await client.request("DELETE", `/admin/users/${user.id}`);
              close();
              navigate("/console/users", { replace: true });
              await onChanged();
            }}
            footer={<Cancel onClick={close} />}
          >
            <TextField
              name="confirm_email"
              label={t("user.type_email", { email: user.email })}
              dir="ltr"
              autoComplete="off"
              required
            />
          </Form>
        </Dialog>
      )}
    </section>
  );
}
