import type { User } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { ArrowLeft, History } from "lucide-react";
import { type ReactNode, useState } from "react";
import { Link } from "wouter";
import { Avatar } from "../components/avatar";
import { Copy } from "../components/copy";
import { Empty } from "../components/empty";
import { Form } from "../components/form";
import { MailHint, Notice } from "../components/notice";
import { useTitle } from "../components/page";
import { type Personal, PersonalFields, personalOf, personalTyped } from "../components/personal-fields";
import { Result } from "../components/queries";
import { useToast } from "../components/toast";
import { useUnsaved } from "../components/unsaved";
import { Code } from "../components/values";
import { config } from "../config";
import { LANGUAGES, useI18n } from "../i18n";
import { useAddress } from "./address";
import { type AuditPage, AuditTable } from "./audit-table";
import { ConsolePage } from "./console-page";
import { DangerZone } from "./danger-zone";
import { UserFactors } from "./user-factors";
import { type AdminUser, RoleSelect, StatusOf } from "./user-fields";
import { UserSessions } from "./user-sessions";
import { TABS, userAt } from "./user-tabs";

export function UserDetail({ id }: { id: string }) {
  const { client } = useAuth();
  const user = useQuery({
    queryKey: ["user", id],
    queryFn: () => client.request<AdminUser>("GET", `/admin/users/${encodeURIComponent(id)}`),
    retry: false,
  });
  return (
    <ConsolePage title={user.data ? undefined : "user.title"}>
      <p>
        <Link href="/console/users" className="back">
          <ArrowLeft className="icon along" />
          {useI18n().t("user.back")}
        </Link>
      </p>
      <Result of={user}>{(found) => <Detail user={found} />}</Result>
    </ConsolePage>
  );
}

function Detail({ user }: { user: AdminUser }) {
  const i18n = useI18n();
  const { t, dateTime } = i18n;
  const { client, user: me } = useAuth();
  const queries = useQueryClient();
  const say = useToast();
  const [sent, setSent] = useState<ReactNode>(null);
  useTitle(user.full_name ?? user.email);
  // The list of users shows the same account.
  const refresh = async () => {
    await Promise.all(
      [["user", String(user.id)], ["users"]].map((queryKey) => queries.invalidateQueries({ queryKey })),
    );
  };
  const [address] = useAddress();
  const tab = TABS.find((one) => one === address.get("tab")) ?? "profile";
  const isMe = user.id === me?.id;
  const [isChanged, setChanged] = useState(false);
  useUnsaved(isChanged && tab === "profile", t("user.unsaved"));
  return (
    <>
      <div className="person">
        <Avatar user={user} isLarge />
        <div>
          <h1>{user.full_name ? <bdi>{user.full_name}</bdi> : <bdi dir="ltr">{user.email}</bdi>}</h1>
          <p>
            {user.full_name && <bdi dir="ltr">{user.email}</bdi>} <StatusOf user={user} />{" "}
            {isMe && <span className="badge">{t("users.you")}</span>}
          </p>
        </div>
      </div>
      {sent && <Notice kind="done">{sent}</Notice>}
      {(user.deleted_at || user.frozen_at) && <WayBack user={user} onChanged={refresh} />}
      {/* Each has an address of its own, so these are links. */}
      <nav aria-label={user.email}>
        <ul className="parts">
          {TABS.map((one) => (
            <li key={one}>
              <Link
                href={userAt(user.id, one)}
                aria-current={one === tab ? "page" : undefined}
                onClick={() => setSent(null)}
              >
                {t(`user_tab.${one}`)}
              </Link>
            </li>
          ))}
        </ul>
      </nav>
      {tab === "profile" && (
        <div className="pair">
          <section className="card" aria-labelledby="profile">
            <h2 id="profile">{t("account.profile")}</h2>
            <Form
              onInput={() => setChanged(true)}
              submit={t("profile.submit")}
              onSubmit={async (values) => {
                const before = { ...personalOf(user), role: user.role };
                const save = async (body: Personal & { role: string | undefined }) => {
                  try {
                    await client.request<User>("PATCH", `/admin/users/${user.id}`, { body });
                  } finally {
                    await refresh();
                  }
                };
                await save({ ...personalTyped(values), role: values.role });
                setChanged(false);
                // An administrator who has given the role away could not take it back.
                say(t("user.saved"), isMe && values.role !== user.role ? undefined : () => save(before));
              }}
            >
              <PersonalFields user={user} />
              <RoleSelect name="role" value={user.role} />
              <p className="hint">{t("user.role_hint")}</p>
            </Form>
          </section>
          <section className="card" aria-labelledby="facts">
            <h2 id="facts">{t("list.details")}</h2>
            <dl className="facts">
              <dt>{t("field.id")}</dt>
              <dd>
                <Code>{user.id}</Code> <Copy text={String(user.id)} of={t("field.id")} />
              </dd>
              <dt>{t("field.email")}</dt>
              <dd>
                <bdi dir="ltr">{user.email}</bdi> <Copy text={user.email} of={t("field.email")} />
              </dd>
              <dt>{t("field.language")}</dt>
              <dd>{LANGUAGES[user.locale]}</dd>
              <dt>{t("users.created")}</dt>
              <dd>{dateTime(user.created_at)}</dd>
              <dt>{t("users.last_login")}</dt>
              <dd>{user.last_login_at ? dateTime(user.last_login_at) : t("users.never")}</dd>
              <dt>{t("users.updated")}</dt>
              <dd>{dateTime(user.updated_at)}</dd>
            </dl>
          </section>
        </div>
      )}
      {tab === "security" && (
        <>
          <section className="card" aria-labelledby="access">
            <h2 id="access">{t("user.access")}</h2>
            <p>{t("user.reset_lead")}</p>
            <Form
              submit={t("user.send_reset")}
              onSubmit={async () => {
                setSent(null);
                await client.request("POST", `/admin/users/${user.id}/password-reset`);
                setSent(
                  <>
                    <p>{t("user.reset_sent", { email: user.email })}</p>
                    <MailHint isOn={config.devMail} />
                  </>,
                );
              }}
            />
          </section>
          <UserFactors user={user} onChanged={refresh} onDone={say} />
          {!user.deleted_at && <DangerZone user={user} onChanged={refresh} />}
        </>
      )}
      {tab === "sessions" && <UserSessions user={user} onDone={say} />}
      {tab === "activity" && <UserActivity user={user} />}
    </>
  );
}

/** A deleted account that can be restored, or one whose owner has to recover it. */
function WayBack({ user, onChanged }: { user: AdminUser; onChanged: () => Promise<void> }) {
  const { t, dateTime } = useI18n();
  const say = useToast();
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
          say(t(isDeleted ? "user.restored" : "user.released"));
          await onChanged();
        }}
      />
    </Notice>
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
        {({ items }) =>
          items.length === 0 ? <Empty icon={History}>{t("activity.none")}</Empty> : <AuditTable rows={items} />
        }
      </Result>
      <p>
        <Link href={`/console/audit?user_id=${user.id}`}>{t("user.all_activity")}</Link>
      </p>
    </section>
  );
}
