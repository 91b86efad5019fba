import type { Schemas } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { keepPreviousData, useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { type FormEvent, useMemo, useState } from "react";
import { Link } from "wouter";
import { Code, Result } from "../components/data";
import { messageOf } from "../components/form";
import { Notice, Page } from "../components/layout";
import { latinDigits, useI18n } from "../i18n";
import { ConsoleNav } from ".";
import { useAddress } from "./address";
import { download } from "./download";

export type AuditRow = Schemas["AuditResponse"];
export type AuditPage = Schemas["AuditPage"];

export const ACTIONS = [
  "sign_in",
  "register",
  "session_revoke",
  "refresh_reuse",
  "password_change",
  "password_reset_request",
  "password_reset",
  "email_verify",
  "email_change_request",
  "email_change",
  "email_change_undo",
  "device_forget",
  "user_update",
  "role_change",
  "activation_change",
  "user_invite",
  "user_delete",
  "user_restore",
  "user_purge",
  "account_secure",
  "new_device",
  "user_import",
  "export",
  "key_change",
  "configuration_change",
  "audit_boundary",
  "audit_rebase",
  "audit_erase",
] as const;

const RANGES = { hour: 3600, day: 86_400, week: 7 * 86_400, month: 30 * 86_400 } as const;
const FILTERS = ["user_id", "actor_id", "action", "outcome", "session_id", "ip", "request_id", "from", "to"] as const;
/** How often a live view asks for what is new, in milliseconds. */
const LIVE = 3000;

export function AuditTrail() {
  const i18n = useI18n();
  const { t, maybe } = i18n;
  const { client } = useAuth();
  const [address, change] = useAddress();
  const [isLive, setLive] = useState(false);
  const [failure, setFailure] = useState<unknown>(null);
  const filter = Object.fromEntries(FILTERS.map((name) => [name, address.get(name) ?? ""]));
  const range = address.get("range") ?? "";
  const key = JSON.stringify([filter, range]);
  // A range counts back from when it was chosen, not from every request: pages must fit together.
  // biome-ignore lint/correctness/useExhaustiveDependencies: counted once per filter
  const query = useMemo(() => {
    const seconds = RANGES[range as keyof typeof RANGES];
    return { ...filter, ...(seconds ? { from: new Date(Date.now() - seconds * 1000).toISOString() } : {}) };
  }, [key]);

  const pages = useInfiniteQuery({
    queryKey: ["audit", key],
    queryFn: ({ pageParam, signal }) =>
      client.request<AuditPage>("GET", "/admin/audit", { query: { ...query, before: pageParam, limit: 50 }, signal }),
    initialPageParam: undefined as number | undefined,
    getNextPageParam: (page) => page.next ?? undefined,
    placeholderData: keepPreviousData,
  });
  const known = pages.data?.pages.flatMap(({ items }) => items) ?? [];
  const newest = known[0]?.id;
  const fresh = useQuery({
    queryKey: ["audit-live", key, newest],
    queryFn: ({ signal }) =>
      client.request<AuditPage>("GET", "/admin/audit", { query: { ...query, after: newest, limit: 100 }, signal }),
    enabled: isLive && pages.isSuccess,
    refetchInterval: LIVE,
    placeholderData: keepPreviousData,
  });
  const rows = isLive
    ? [...(fresh.data?.items ?? []).filter(({ id }) => newest === undefined || id > newest), ...known]
    : known;

  const apply = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const text = (name: string) => latinDigits(String(form.get(name) ?? "").trim());
    const time = (name: string) => {
      const value = text(name);
      return value && !Number.isNaN(Date.parse(value)) ? new Date(value).toISOString() : null;
    };
    const from = time("from");
    const to = time("to");
    change({
      user_id: text("user_id"),
      actor_id: text("actor_id"),
      ip: text("ip"),
      session_id: text("session_id"),
      from,
      to,
      ...(from || to ? { range: null } : {}),
    });
  };

  const save = async () => {
    const wanted = new URLSearchParams({ format: "csv", bom: "true" });
    for (const [name, value] of Object.entries(query)) if (value) wanted.set(name, value);
    try {
      await download(client, "/admin/audit/export", wanted, "audit.csv");
    } catch (error) {
      setFailure(error);
    }
  };

  /** A moment as the browser's field for it wants it: in local time, without a zone. */
  const local = (value: string) => {
    if (!value) return "";
    const time = new Date(value);
    return new Date(time.getTime() - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
  };
  return (
    <Page title="console.audit" wide nav={<ConsoleNav />}>
      {failure !== null && <Notice kind="bad">{messageOf(failure, i18n)}</Notice>}
      <form key={key} className="filters" onSubmit={apply} aria-label={t("audit.filters")}>
        <div className="field">
          <label htmlFor="action">{t("audit.action")}</label>
          <select id="action" value={filter.action} onChange={(event) => change({ action: event.target.value })}>
            <option value="">{t("users.any")}</option>
            {ACTIONS.map((action) => (
              <option key={action} value={action}>
                {maybe(`action.${action}`) ?? action}
              </option>
            ))}
          </select>
        </div>
        <div className="field">
          <label htmlFor="outcome">{t("audit.outcome")}</label>
          <select id="outcome" value={filter.outcome} onChange={(event) => change({ outcome: event.target.value })}>
            <option value="">{t("users.any")}</option>
            <option value="success">{t("audit.success")}</option>
            <option value="failure">{t("audit.failure")}</option>
          </select>
        </div>
        <div className="field">
          <label htmlFor="range">{t("audit.range")}</label>
          <select
            id="range"
            value={range}
            onChange={(event) => change({ range: event.target.value, from: null, to: null })}
          >
            <option value="">{t("users.any")}</option>
            {Object.keys(RANGES).map((name) => (
              <option key={name} value={name}>
                {maybe(`audit.range_${name}`) ?? name}
              </option>
            ))}
          </select>
        </div>
        {(["from", "to"] as const).map((name) => (
          <div className="field" key={name}>
            <label htmlFor={name}>{t(`audit.${name}`)}</label>
            <input id={name} name={name} type="datetime-local" defaultValue={local(filter[name] ?? "")} />
          </div>
        ))}
        {(["user_id", "actor_id", "ip", "session_id"] as const).map((name) => (
          <div className="field" key={name}>
            <label htmlFor={name}>{t(`audit.${name}`)}</label>
            <input
              id={name}
              name={name}
              type="text"
              dir="ltr"
              inputMode={name.endsWith("_id") && name !== "session_id" ? "numeric" : "text"}
              autoComplete="off"
              defaultValue={filter[name]}
            />
          </div>
        ))}
        <button type="submit" className="button">
          {t("users.find")}
        </button>
        {address.size > 0 && (
          <button
            type="button"
            className="button quiet"
            onClick={() => change(Object.fromEntries([...FILTERS, "range"].map((name) => [name, null])))}
          >
            {t("users.clear")}
          </button>
        )}
      </form>
      <div className="actions">
        <button type="button" className="button quiet" aria-pressed={isLive} onClick={() => setLive(!isLive)}>
          {t(isLive ? "audit.pause" : "audit.live")}
        </button>
        <button type="button" className="button quiet" onClick={() => void save()}>
          {t("users.export")}
        </button>
        <span role="status">
          {isLive && fresh.error ? messageOf(fresh.error, i18n) : isLive ? t("audit.is_live") : ""}
        </span>
      </div>
      <Result of={pages}>
        {() =>
          rows.length === 0 ? (
            <p className="card">{t("audit.none")}</p>
          ) : (
            <>
              <AuditTable rows={rows} />
              {pages.hasNextPage && (
                <button
                  type="button"
                  className="button"
                  aria-disabled={pages.isFetchingNextPage}
                  onClick={() => !pages.isFetchingNextPage && void pages.fetchNextPage()}
                >
                  {t("audit.older")}
                </button>
              )}
            </>
          )
        }
      </Result>
    </Page>
  );
}

/** Rows of the trail. Users, sessions and addresses lead to everything else about them. */
export function AuditTable({ rows }: { rows: AuditRow[] }) {
  const { t, maybe, dateTime } = useI18n();
  const pivot = (name: string, value: string | number, text: string | number = value) => (
    <Link href={`/console/audit?${new URLSearchParams({ [name]: String(value) })}`}>
      <Code>{text}</Code>
    </Link>
  );
  return (
    <div className="scroll" tabIndex={0} role="region" aria-label={t("console.audit")}>
      <table>
        <thead>
          <tr>
            <th scope="col">{t("audit.at")}</th>
            <th scope="col">{t("audit.action")}</th>
            <th scope="col">{t("audit.user_id")}</th>
            <th scope="col">{t("audit.actor_id")}</th>
            <th scope="col">{t("audit.ip")}</th>
            <th scope="col">{t("list.details")}</th>
          </tr>
        </thead>
        <tbody>
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
                    <span className="visually-hidden">{t("list.details")} </span>#<bdi>{row.id}</bdi>
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
        </tbody>
      </table>
    </div>
  );
}
