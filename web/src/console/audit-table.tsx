import type { Schemas } from "@josoor/auth";
import { Link } from "wouter";
import { Table } from "../components/table";
import { Code } from "../components/values";
import { useI18n } from "../i18n";

type AuditRow = Schemas["AuditResponse"];
export type AuditPage = Schemas["AuditPage"];

const COLUMNS = ["audit.at", "audit.action", "audit.user_id", "audit.actor_id", "audit.ip", "list.details"] as const;

/** Rows of the trail. Users, sessions and addresses lead to everything else about them. */
export function AuditTable({ rows }: { rows: AuditRow[] }) {
  const { t, maybe, dateTime } = useI18n();
  const pivot = (name: string, value: string | number, text: string | number = value) => (
    <Link href={`/console/audit?${new URLSearchParams({ [name]: String(value) })}`}>
      <Code>{text}</Code>
    </Link>
  );
  return (
    <Table label={t("console.audit")} columns={COLUMNS.map((key) => t(key))}>
      {rows.map((row) => (
        <tr key={row.id}>
          <td>
            <time dateTime={row.at}>{dateTime(row.at)}</time>
          </td>
          <td>
            {maybe(`action.${row.action}`) ?? row.action}{" "}
            {row.outcome === "failure" && <span className="badge bad">{t("audit.failure")}</span>}
            {row.reason && (
              <span className="small"> {maybe(`audit_reason.${row.reason}`) ?? <Code>{row.reason}</Code>}</span>
            )}
          </td>
          <td>{row.subject_id !== null && pivot("user_id", row.subject_id)}</td>
          <td>{row.actor_id !== null && pivot("actor_id", row.actor_id)}</td>
          <td>{row.ip !== null && pivot("ip", row.ip)}</td>
          <td>
            <details>
              <summary>
                <span className="visually-hidden">{t("list.details")} </span>
                <bdi dir="ltr">#{row.id}</bdi>
              </summary>
              <dl className="facts small">
                {row.session_id && (
                  <>
                    <dt>{t("audit.session_id")}</dt>
                    <dd>{pivot("session_id", row.session_id)}</dd>
                  </>
                )}
                {row.request_id && (
                  <>
                    <dt>{t("audit.request_id")}</dt>
                    <dd>{pivot("request_id", row.request_id)}</dd>
                  </>
                )}
                {row.user_agent && (
                  <>
                    <dt>{t("audit.user_agent")}</dt>
                    <dd>
                      <Code>{row.user_agent}</Code>
                    </dd>
                  </>
                )}
                {row.subject_id !== null && (
                  <>
                    <dt>{t("audit.user_id")}</dt>
                    <dd>
                      <Link href={`/console/users/${row.subject_id}`}>{t("users.show")}</Link>
                    </dd>
                  </>
                )}
                <dt>{t("audit.seal")}</dt>
                <dd>{row.sealed ? t("audit.sealed", { seq: String(row.seq) }) : t("audit.unsealed")}</dd>
              </dl>
            </details>
          </td>
        </tr>
      ))}
    </Table>
  );
}
