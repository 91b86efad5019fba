import type { Schemas } from "@josoor/auth";
import { ChevronDown } from "lucide-react";
import { Fragment, useState } from "react";
import { Link } from "wouter";
import { Avatar } from "../components/avatar";
import { Table } from "../components/table";
import { Code } from "../components/values";
import { type TextKey, useI18n } from "../i18n";
import { useNames } from "./names";

type AuditRow = Schemas["AuditResponse"];
export type AuditPage = Schemas["AuditPage"];

const COLUMNS: [title: TextKey, width: string][] = [
  ["audit.at", "w-m"],
  ["audit.action", "w-l"],
  ["audit.subject", "w-l"],
  ["audit.actor", "w-l"],
  ["audit.ip", "w-s"],
];

/** Rows of the trail. Users, sessions and addresses lead to everything else about them; more about a row stands below it. */
export function AuditTable({ rows }: { rows: AuditRow[] }) {
  const { t, maybe, dateTime } = useI18n();
  const [open, setOpen] = useState<ReadonlySet<number>>(new Set());
  const names = useNames(rows.flatMap(({ subject_id, actor_id }) => [subject_id, actor_id]));
  const toggle = (id: number) => {
    const next = new Set(open);
    if (!next.delete(id)) next.add(id);
    setOpen(next);
  };
  const toAudit = (name: string, value: string | number) =>
    `/console/audit?${new URLSearchParams({ [name]: String(value) })}`;
  const person = (name: "user_id" | "actor_id", id: number) => {
    const user = names.get(id);
    const text = user?.full_name ?? user?.email;
    return (
      <div className="cell">
        {user && <Avatar user={user} />}
        <Link className="cut" href={toAudit(name, id)} title={user ? `${user.email} #${id}` : undefined}>
          {text && <bdi>{text}</bdi>} <bdi dir="ltr">#{id}</bdi>
        </Link>
      </div>
    );
  };
  return (
    <Table
      label={t("console.audit")}
      columns={[
        ...COLUMNS.map(([title, width]) => ({ title: t(title), width })),
        { title: t("list.details"), width: "w-check", isHidden: true },
      ]}
    >
      {rows.map((row) => {
        const action = maybe(`action.${row.action}`) ?? row.action;
        const reason = row.reason && (maybe(`audit_reason.${row.reason}`) ?? row.reason);
        const isOpen = open.has(row.id);
        return (
          <Fragment key={row.id}>
            <tr>
              <td>
                <time dateTime={row.at}>{dateTime(row.at)}</time>
              </td>
              <td className="whole" title={reason ? `${action}: ${reason}` : action}>
                {action} {row.outcome === "failure" && <span className="badge bad">{t("audit.failure")}</span>}
                {reason && <span className="small"> {reason}</span>}
              </td>
              <td>{row.subject_id !== null && person("user_id", row.subject_id)}</td>
              <td data-label={t("audit.actor")}>{isByOther(row) && person("actor_id", row.actor_id)}</td>
              <td>
                {row.ip !== null && (
                  <Link className="cut" href={toAudit("ip", row.ip)} title={row.ip}>
                    <Code>{row.ip}</Code>
                  </Link>
                )}
              </td>
              <td>
                <button
                  type="button"
                  className="icon-button"
                  aria-expanded={isOpen}
                  aria-label={t("audit.details_of", { id: `#${row.id}` })}
                  onClick={() => toggle(row.id)}
                >
                  <ChevronDown className="icon" />
                </button>
              </td>
            </tr>
            {isOpen && (
              <tr className="opened">
                <td colSpan={COLUMNS.length + 1}>
                  <Details row={row} user={names.get(row.subject_id ?? 0)} toAudit={toAudit} />
                </td>
              </tr>
            )}
          </Fragment>
        );
      })}
    </Table>
  );
}

/** Most acts are people's own; then a column for who did it says nothing new. */
const isByOther = (row: AuditRow): row is AuditRow & { actor_id: number } =>
  row.actor_id !== null && row.actor_id !== row.subject_id;

function Details({
  row,
  user,
  toAudit,
}: {
  row: AuditRow;
  user: { full_name: string | null; email: string } | undefined;
  toAudit: (name: string, value: string) => string;
}) {
  const { t } = useI18n();
  return (
    <dl className="facts">
      <dt>{t("audit.number")}</dt>
      <dd>
        <Code>#{row.id}</Code>
      </dd>
      {row.subject_id !== null && (
        <>
          <dt>{t("audit.subject")}</dt>
          <dd>
            <Link href={`/console/users/${row.subject_id}`}>
              <bdi dir="ltr">{user?.email ?? `#${row.subject_id}`}</bdi>
            </Link>
          </dd>
        </>
      )}
      {(["session_id", "request_id"] as const).map((name) => {
        const value = row[name];
        return (
          value && (
            <Fragment key={name}>
              <dt>{t(`audit.${name}`)}</dt>
              <dd>
                <Link href={toAudit(name, value)}>
                  <Code>{value}</Code>
                </Link>
              </dd>
            </Fragment>
          )
        );
      })}
      {row.user_agent && (
        <>
          <dt>{t("audit.user_agent")}</dt>
          <dd>
            <Code>{row.user_agent}</Code>
          </dd>
        </>
      )}
      <dt>{t("audit.seal")}</dt>
      <dd>{row.sealed ? t("audit.sealed", { seq: String(row.seq) }) : t("audit.unsealed")}</dd>
    </dl>
  );
}
