import type { Schemas } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { Link } from "wouter";
import { Result } from "../components/queries";
import { useI18n } from "../i18n";
import { useAddress } from "./address";
import { Chart } from "./chart";
import { ConsolePage } from "./console-page";
import { FirstSteps } from "./first-steps";

const RANGES = [7, 30, 90];

export function Overview() {
  const { t, n, dateTime } = useI18n();
  const { client } = useAuth();
  const [address, change] = useAddress();
  const days = RANGES.find((range) => String(range) === address.get("days")) ?? 30;
  const stats = useQuery({
    queryKey: ["stats", days],
    // Twice the range: the earlier half is what the later one is compared with.
    queryFn: () => client.request<Schemas["StatsResponse"]>("GET", "/admin/stats", { query: { days: 2 * days } }),
    placeholderData: keepPreviousData,
    refetchInterval: 60_000,
  });
  return (
    <ConsolePage
      title="console.overview"
      actions={
        <p role="group" aria-label={t("overview.range")} className="actions">
          {RANGES.map((range) => (
            <button
              type="button"
              key={range}
              className="button quiet"
              aria-pressed={range === days}
              onClick={() => change({ days: String(range) }, { replace: true })}
            >
              {n("overview.days", range)}
            </button>
          ))}
        </p>
      }
    >
      <Result of={stats}>
        {({ users, sessions, days: all, generated_at }) => {
          const [before, series] = [all.slice(0, -days), all.slice(-days)];
          const dates = series.map(({ date }) => date);
          return (
            <>
              <FirstSteps users={users} />
              <BareAdmins count={users.admins_without_factor} />
              <ul className="tiles">
                <Tile value={users.total} label={t("overview.users")} to="/console/users" />
                <Tile value={sessions.active} label={t("overview.sessions")} />
                <Tile value={users.inactive} label={t("overview.inactive")} to="/console/users?is_active=false" />
                <Tile
                  value={users.unverified}
                  label={t("overview.unverified")}
                  to="/console/users?email_verified=false"
                />
                <Tile value={users.invited} label={t("overview.invited")} to="/console/users?invited=true" />
                <Tile value={users.admins} label={t("overview.admins")} to="/console/users?role=admin" />
              </ul>
              <Chart
                title={t("overview.sign_ins")}
                days={dates}
                series={[
                  {
                    label: t("overview.succeeded"),
                    tone: "main",
                    values: series.map((day) => day.sign_ins),
                    before: before.map((day) => day.sign_ins),
                  },
                  {
                    label: t("overview.failed"),
                    tone: "bad",
                    values: series.map((day) => day.failures),
                    before: before.map((day) => day.failures),
                  },
                ]}
              />
              <div className="pair">
                <Chart
                  title={t("overview.new_users")}
                  days={dates}
                  series={[
                    {
                      label: t("overview.new_users"),
                      tone: "main",
                      values: series.map((day) => day.new_users),
                      before: before.map((day) => day.new_users),
                    },
                  ]}
                />
                <Chart
                  title={t("overview.active_users")}
                  days={dates}
                  series={[
                    {
                      label: t("overview.active_users"),
                      tone: "main",
                      values: series.map((day) => day.active_users),
                      before: before.map((day) => day.active_users),
                      whole: "average",
                    },
                  ]}
                />
              </div>
              <p className="small">
                {t("overview.as_of", { time: dateTime(generated_at) })}{" "}
                <Link href="/console/audit?action=sign_in">{t("overview.to_audit")}</Link>
              </p>
            </>
          );
        }}
      </Result>
    </ConsolePage>
  );
}

/** Says that administrators have no second factor, and leads to where one's own is set up, else to the others. */
function BareAdmins({ count }: { count: number }) {
  const { t, n } = useI18n();
  const { user } = useAuth();
  if (count === 0) return null;
  const isOwn = user?.mfa_enabled === false;
  return (
    <p className="notice note" role="status">
      {n("overview.bare_admins", count)}{" "}
      <Link href={isOwn ? "/account/two-step" : "/console/users?role=admin"}>
        {t(isOwn ? "overview.bare_self_go" : "overview.bare_admins_go")}
      </Link>
    </p>
  );
}

function Tile({ value, label, to }: { value: number; label: string; to?: string }) {
  const { number } = useI18n();
  return (
    <li className="card tile">
      <strong>{number(value)}</strong> {to ? <Link href={to}>{label}</Link> : <span>{label}</span>}
    </li>
  );
}
