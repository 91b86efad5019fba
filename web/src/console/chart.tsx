import { lazy, Suspense, useState } from "react";
import { Table } from "../components/table";
import { useI18n } from "../i18n";

const Plot = lazy(() => import("./plot"));

export interface Series {
  label: string;
  /** Which colour of the style sheet. The two differ also for those who do not tell red from green. */
  tone: "bad" | "main";
  values: number[];
  /** Of as many days before these, for comparison. */
  before: number[];
  /** What is said of the whole range: those who are counted on several days must not be summed. */
  whole?: "sum" | "average";
}

const sum = (values: number[]) => values.reduce((whole, value) => whole + value, 0);
/** To one decimal. */
const average = (values: number[]) => Math.round((sum(values) / Math.max(1, values.length)) * 10) / 10;
const wholeOf = (values: number[], whole: Series["whole"]) => (whole === "average" ? average(values) : sum(values));

/** What the same number was in the time before, and how much more or less it is now. */
function Before({ now, before }: { now: number; before: number }) {
  const { t, number, percent } = useI18n();
  return (
    <span className="small">
      {" "}
      {before > 0
        ? t("chart.change", { percent: percent((now - before) / before) })
        : t("chart.before", { count: number(before) })}
    </span>
  );
}

/**
 * Bars per day, stacked. Time runs in the direction of reading. The picture is hidden from screen readers, which get the same
 * numbers as a table, as does everybody who opens it.
 */
export function Chart({ title, days, series }: { title: string; days: string[]; series: Series[] }) {
  const { t, date, shortDate, number, language } = useI18n();
  const [pointed, setPointed] = useState<number | null>(null);
  const day = pointed === null ? undefined : days[pointed];
  // Before a service had users, there is nothing to compare with.
  const before = days.map((_, at) => sum(series.map(({ before }) => before[at] ?? 0)));
  return (
    <figure className="card chart">
      <figcaption>
        <h2>{title}</h2>
        <p className="legend">
          {series.map(({ label, tone, values, whole, before }) => (
            <span key={label}>
              <svg width="12" height="12" aria-hidden="true">
                <rect className={`bar ${tone}`} width="12" height="12" rx="2" />
              </svg>{" "}
              {label}:{" "}
              <strong>
                {pointed !== null
                  ? number(values[pointed] ?? 0)
                  : whole === "average"
                    ? t("chart.a_day", { count: number(average(values)) })
                    : number(sum(values))}
              </strong>
              {pointed === null && <Before now={wholeOf(values, whole)} before={wholeOf(before, whole)} />}
            </span>
          ))}
          {day && <span>{date(day)}</span>}
        </p>
      </figcaption>
      <Suspense fallback={<div className="plot" />}>
        <Plot
          days={days}
          stack={series.map(({ tone, values }) => ({ tone, values }))}
          before={sum(before) > 0 ? before : undefined}
          isRtl={language === "ar"}
          nameDay={(day) => (day === days.at(-1) ? t("story.today") : shortDate(day))}
          nameNumber={number}
          onPoint={setPointed}
        />
      </Suspense>
      <details>
        <summary>{t("chart.as_table")}</summary>
        <Table label={title} columns={[t("chart.day"), ...series.map(({ label }) => label)]}>
          {days.map((day, index) => (
            <tr key={day}>
              <th scope="row">{date(day)}</th>
              {series.map(({ label, values }) => (
                <td key={label}>{number(values[index] ?? 0)}</td>
              ))}
            </tr>
          ))}
        </Table>
      </details>
    </figure>
  );
}
