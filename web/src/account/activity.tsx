import { useAuth } from "@josoor/auth/react";
import { keepPreviousData, useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import {
  AtSign,
  CircleUser,
  FileDown,
  History,
  KeyRound,
  LogIn,
  LogOut,
  MonitorSmartphone,
  ShieldAlert,
  ShieldCheck,
} from "lucide-react";
import { useState } from "react";
import { Empty } from "../components/empty";
import { messageOf } from "../components/form";
import { Notice } from "../components/notice";
import { Pager } from "../components/pager";
import { Result } from "../components/queries";
import { Code } from "../components/values";
import { useI18n } from "../i18n";
import { type Episode, episodesOf, isInQuestion, type Row, sentenceOf } from "./episodes";
import { Report } from "./report";

const PAGE_SIZE = 20;
/** Within this time, in milliseconds, the name of a day says which one it is. */
const NEAR = 6 * 86_400_000;
/** How many episodes a question names; the others stand below it. */
const NAMED = 3;

/** What happened to the account, in sentences, day by day, and the question whether it was its owner. */
export function Activity() {
  const { t } = useI18n();
  const { client } = useAuth();
  const [page, setPage] = useState(1);
  const activity = useQuery({
    queryKey: ["activity", page],
    queryFn: () => client.activity({ page, page_size: PAGE_SIZE }),
    placeholderData: keepPreviousData,
  });
  return (
    <Result of={activity}>
      {({ items, total, answered_id }) => {
        const episodes = episodesOf(items);
        const asked = episodes.filter(
          (episode) => isInQuestion(episode) && episode.rows.some(({ id }) => id > (answered_id ?? 0)),
        );
        return (
          <>
            <Question asked={asked} latest={page === 1 ? items[0] : undefined} />
            {items.length === 0 ? (
              <Empty icon={History}>{t("activity.none")}</Empty>
            ) : (
              <Story episodes={episodes} asked={asked} />
            )}
            <Pager page={page} pages={Math.ceil(total / PAGE_SIZE)} onPage={setPage} />
          </>
        );
      }}
    </Result>
  );
}

/** Asks about what is new; without anything new it only says how to report. */
function Question({ asked, latest }: { asked: Episode[]; latest: Row | undefined }) {
  const i18n = useI18n();
  const { t, n } = i18n;
  const { client } = useAuth();
  const queries = useQueryClient();
  const [isReporting, setReporting] = useState(false);
  const confirmation = useMutation({
    mutationFn: (id: number) => client.request("POST", `/auth/activity/${id}/confirm`),
    // Also when something has happened meanwhile, which is then shown and asked about.
    onSettled: () => queries.invalidateQueries({ queryKey: ["activity"] }),
  });
  const isAsked = asked.length > 0 && latest !== undefined;
  return (
    <section className={isAsked ? "card asked" : "card"} aria-labelledby="was-me">
      <h2 id="was-me">{t(isAsked ? "story.ask_title" : "story.see_wrong")}</h2>
      {isAsked ? (
        <ul>
          {asked.slice(0, NAMED).map((episode) => (
            <li key={episode.rows[0].id}>
              <When row={episode.rows[0]} /> {sentenceOf(episode, i18n)}
            </li>
          ))}
        </ul>
      ) : (
        <p>{t("story.calm")}</p>
      )}
      {isAsked && asked.length > NAMED && <p className="small">{n("story.ask_more", asked.length - NAMED)}</p>}
      {confirmation.error && <Notice kind="bad">{messageOf(confirmation.error, i18n)}</Notice>}
      <p className="actions">
        {isAsked && (
          <button
            type="button"
            className="button"
            aria-disabled={confirmation.isPending}
            onClick={() => !confirmation.isPending && confirmation.mutate(latest.id)}
          >
            {t("story.was_me")}
          </button>
        )}
        <button type="button" className="button risky" onClick={() => setReporting(true)}>
          {t("story.not_me")}
        </button>
      </p>
      {isReporting && (
        <Report
          onClose={() => {
            setReporting(false);
            void queries.invalidateQueries();
          }}
        />
      )}
    </section>
  );
}

function Story({ episodes, asked }: { episodes: Episode[]; asked: Episode[] }) {
  const i18n = useI18n();
  const { t, day } = i18n;
  const days: [day: string, Episode[]][] = [];
  for (const episode of episodes) {
    const name = day(episode.rows[0].at);
    if (days.at(-1)?.[0] === name) days.at(-1)?.[1].push(episode);
    else days.push([name, [episode]]);
  }
  const near = new Map([
    [day(Date.now()), t("story.today")],
    [day(Date.now() - 86_400_000), t("story.yesterday")],
  ]);
  return days.map(([name, episodes]) => (
    <section key={name} className="story">
      <h2>{near.get(name) ?? name}</h2>
      <ol>
        {episodes.map((episode) => {
          const [row] = episode.rows;
          const Icon = iconOf(row);
          return (
            <li key={row.id} className={asked.includes(episode) ? "asked" : undefined}>
              <Icon className="icon" />
              <time dateTime={row.at} title={i18n.dateTime(row.at)}>
                {i18n.time(row.at)}
              </time>
              <div>
                {sentenceOf(episode, i18n)} {row.by_other && <span className="badge">{t("activity.by_other")}</span>}
                {row.ip && (
                  <span className="small">
                    {" "}
                    <Code>{row.ip}</Code>
                  </span>
                )}
              </div>
            </li>
          );
        })}
      </ol>
    </section>
  ));
}

/** The day, by its name in the last week, and the time. */
function When({ row }: { row: Row }) {
  const { day, weekday, time, dateTime } = useI18n();
  const isNear = Date.now() - new Date(row.at).getTime() < NEAR;
  return (
    <time dateTime={row.at} title={dateTime(row.at)}>
      <strong>
        {isNear ? weekday(row.at) : day(row.at)} {time(row.at)}
      </strong>
    </time>
  );
}

function iconOf({ action, outcome }: Row) {
  if (/^(refresh_reuse|new_device|activity_report|account_secure)$/.test(action)) return ShieldAlert;
  if (action === "activity_confirm") return ShieldCheck;
  if (action === "sign_in") return outcome === "failure" ? ShieldAlert : LogIn;
  if (action === "session_revoke") return LogOut;
  if (action.startsWith("password")) return KeyRound;
  if (action.startsWith("email")) return AtSign;
  if (action === "device_forget") return MonitorSmartphone;
  return action === "export" ? FileDown : CircleUser;
}
