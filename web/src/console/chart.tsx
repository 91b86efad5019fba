import { type PointerEvent, useState } from "react";
import { Table } from "../components/table";
import { useI18n } from "../i18n";

export interface Series {
  label: string;
  /** Which colour of the style sheet. The two differ also for those who do not tell red from green. */
  tone: "bad" | "main";
  values: number[];
  /** What is said of the whole range: those who are counted on several days must not be summed. */
  whole?: "sum" | "average";
}

const sum = (values: number[]) => values.reduce((whole, value) => whole + value, 0);
/** To one decimal. */
const average = (values: number[]) => Math.round((sum(values) / Math.max(1, values.length)) * 10) / 10;

const HEIGHT = 120;
const STEP = 10;
/** Between the parts of a bar. */
const GAP = 1;

/** The end of the axis: 1, 2, 4, 6 or 8 times a power of ten, so that its half is a whole number as well. */
function roundUp(most: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, most)));
  return Math.max(2, [1, 2, 4, 6, 8, 10].map((step) => step * power).find((end) => end >= most) ?? most);
}

/**
 * Bars per day, stacked. Time runs in the direction of reading. The picture is hidden from screen readers, which get the same
 * numbers as a table, as does everybody who opens it.
 */
export function Chart({ title, days, series }: { title: string; days: string[]; series: Series[] }) {
  const { t, date, number, language } = useI18n();
  const sums = days.map((_, day) => sum(series.map(({ values }) => values[day] ?? 0)));
  const most = roundUp(Math.max(...sums));
  const width = days.length * STEP;
  const placeOf = (index: number) => (language === "ar" ? days.length - 1 - index : index);
  const [pointed, setPointed] = useState<number | null>(null);
  const point = (event: PointerEvent<SVGSVGElement>) => {
    const { left, width } = event.currentTarget.getBoundingClientRect();
    const place = Math.floor(((event.clientX - left) / width) * days.length);
    setPointed(placeOf(Math.min(days.length - 1, Math.max(0, place))));
  };
  const day = pointed === null ? undefined : days[pointed];
  return (
    <figure className="card chart">
      <figcaption>
        <h2>{title}</h2>
        <p className="legend">
          {series.map(({ label, tone, values, whole }) => (
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
            </span>
          ))}
          {day && <span>{date(day)}</span>}
        </p>
      </figcaption>
      <div className="plot" aria-hidden="true">
        <span className="scale">
          {[most, most / 2, 0].map((value) => (
            <span key={value}>{number(value)}</span>
          ))}
        </span>
        <svg
          viewBox={`0 0 ${width} ${HEIGHT}`}
          preserveAspectRatio="none"
          aria-hidden="true"
          onPointerMove={point}
          onPointerLeave={() => setPointed(null)}
        >
          {[0.5, HEIGHT / 2, HEIGHT - 0.5].map((y) => (
            <line key={y} className="grid" x1="0" x2={width} y1={y} y2={y} />
          ))}
          {days.map((day, index) => {
            let top = HEIGHT;
            return (
              <g key={day} className={pointed === null || pointed === index ? undefined : "faint"}>
                {series.map(({ label, tone, values }) => {
                  const height = ((values[index] ?? 0) / most) * HEIGHT;
                  top -= height;
                  return (
                    <rect
                      key={label}
                      className={`bar ${tone}`}
                      x={placeOf(index) * STEP + 1.5}
                      y={top}
                      width={STEP - 3}
                      height={Math.max(0, height - GAP)}
                    />
                  );
                })}
              </g>
            );
          })}
        </svg>
        <span className="axis">
          {[0, Math.floor(days.length / 2), days.length - 1].map((index) => (
            <span key={index}>{days[index] && date(days[index])}</span>
          ))}
        </span>
      </div>
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
