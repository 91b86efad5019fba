import { useAuth } from "@josoor/auth/react";
import { keepPreviousData, useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Pause, Play, SearchX } from "lucide-react";
import { type FormEvent, useMemo, useRef, useState } from "react";
import { Empty } from "../components/empty";
import { messageOf } from "../components/form";
import { Notice } from "../components/notice";
import { Result } from "../components/queries";
import { latinDigits, useI18n } from "../i18n";
import { useAddress } from "./address";
import { type AuditPage, AuditTable } from "./audit-table";
import { ConsolePage } from "./console-page";
import { ExportButton } from "./export-button";
import { SelectFilter } from "./filters";
import { SealButton, SealResult, useSeal } from "./seal";
import { useSearchShortcut } from "./shortcut";
import { TimeField } from "./time-field";

const RANGES = { hour: 3600, day: 86_400, week: 7 * 86_400, month: 30 * 86_400 } as const;
const FILTERS = ["user_id", "actor_id", "action", "outcome", "session_id", "ip", "request_id", "from", "to"] as const;
/** Those that are needed less often, folded away unless one holds. */
const TIMES = ["from", "to"] as const;
const IDS = ["user_id", "actor_id", "ip", "session_id"] as const;
/** How often a live view asks for what is new, in milliseconds. */
const LIVE = 3000;

export function AuditTrail() {
  const i18n = useI18n();
  const { t, entries } = i18n;
  const { client } = useAuth();
  const [address, change] = useAddress();
  const [isLive, setLive] = useState(false);
  const [failure, setFailure] = useState<unknown>(null);
  const seal = useSeal();
  const first = useRef<HTMLSelectElement>(null);
  useSearchShortcut(first);
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

  return (
    <ConsolePage
      title="console.audit"
      actions={
        <>
          <button type="button" className="button quiet" aria-pressed={isLive} onClick={() => setLive(!isLive)}>
            {isLive ? <Pause className="icon" /> : <Play className="icon" />}
            {t(isLive ? "audit.pause" : "audit.live")}
          </button>
          <SealButton seal={seal} />
          <ExportButton path="/admin/audit/export" query={query} file="audit.csv" onFailure={setFailure} />
        </>
      }
    >
      {failure !== null && <Notice kind="bad">{messageOf(failure, i18n)}</Notice>}
      <SealResult seal={seal} />
      <form key={key} className="filters" onSubmit={apply} aria-label={t("audit.filters")}>
        <SelectFilter
          ref={first}
          name="action"
          label={t("audit.action")}
          value={filter.action}
          options={entries("action.")}
          onChange={(action) => change({ action })}
        />
        <SelectFilter
          name="outcome"
          label={t("audit.outcome")}
          value={filter.outcome}
          options={[
            ["success", t("audit.success")],
            ["failure", t("audit.failure")],
          ]}
          onChange={(outcome) => change({ outcome })}
        />
        <SelectFilter
          name="range"
          label={t("audit.range")}
          value={range}
          options={entries("audit.range_")}
          onChange={(range) => change({ range, from: null, to: null })}
        />
        {address.size > 0 && (
          <button
            type="button"
            className="button quiet"
            onClick={() => change(Object.fromEntries([...FILTERS, "range"].map((name) => [name, null])))}
          >
            {t("users.clear")}
          </button>
        )}
        <details open={[...TIMES, ...IDS].some((name) => filter[name])}>
          <summary>{t("audit.further")}</summary>
          <div className="filters">
            {TIMES.map((name) => (
              <TimeField key={name} name={name} label={t(`audit.${name}`)} value={filter[name] ?? ""} />
            ))}
            {IDS.map((name) => (
              <div className="field" key={name}>
                <label htmlFor={name}>{t(`audit.${name}`)}</label>
                <input
                  id={name}
                  name={name}
                  type="text"
                  dir="ltr"
                  inputMode={name === "user_id" || name === "actor_id" ? "numeric" : "text"}
                  autoComplete="off"
                  defaultValue={filter[name] ?? ""}
                />
              </div>
            ))}
            <button type="submit" className="button quiet">
              {t("users.find")}
            </button>
          </div>
        </details>
      </form>
      <p role="status">{isLive && fresh.error ? messageOf(fresh.error, i18n) : isLive ? t("audit.is_live") : ""}</p>
      <Result of={pages}>
        {() =>
          rows.length === 0 ? (
            <Empty icon={SearchX}>{t("audit.none")}</Empty>
          ) : (
            <>
              <AuditTable rows={rows} />
              {pages.hasNextPage && (
                <button
                  type="button"
                  className="button quiet"
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
    </ConsolePage>
  );
}
