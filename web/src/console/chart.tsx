import { Table } from "../components/table";
import { useI18n } from "../i18n";

export interface Series {
  label: string;
  /** Which colour of the style sheet, and which pattern where colours do not tell. */
  tone: "good" | "bad" | "main";
  values: number[];
  /** What is said of the whole range: those who are counted on several days must not be summed. */
  whole?: "sum" | "average";
}

const sum = (values: number[]) => values.reduce((whole, value) => whole + value, 0);
/** To one decimal. */
const average = (values: number[]) => Math.round((sum(values) / Math.max(1, values.length)) * 10) / 10;

const HEIGHT = 120;
const STEP = 10;

/**
 * Bars per day, stacked. Time runs in the direction of reading. The picture is hidden from screen readers, which get the same
 * numbers as a table, as does everybody who opens it.
 */
export function Chart({ title, days, series }: { title: string; days: string[]; series: Series[] }) {
  const { t, date, number, language } = useI18n();
  const sums = days.map((_, day) => sum(series.map(({ values }) => values[day] ?? 0)));
  const most = Math.max(1, ...sums);
  const width = days.length * STEP;
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
                {whole === "average" ? t("chart.a_day", { count: number(average(values)) }) : number(sum(values))}
              </strong>
            </span>
          ))}
        </p>
      </figcaption>
      <div className="plot" aria-hidden="true">
        <span className="axis">{number(most)}</span>
        <svg viewBox={`0 0 ${width} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
          <line className="grid" x1="0" x2={width} y1="0.5" y2="0.5" />
          <line className="grid" x1="0" x2={width} y1={HEIGHT - 0.5} y2={HEIGHT - 0.5} />
          {days.map((day, index) => {
            const place = language === "ar" ? days.length - 1 - index : index;
            let top = HEIGHT;
            return (
              <g key={day}>
                <title>{`${date(day)}: ${series.map(({ label, values }) => `${label} ${number(values[index] ?? 0)}`).join(", ")}`}</title>
                {series.map(({ label, tone, values }) => {
                  const height = ((values[index] ?? 0) / most) * (HEIGHT - 4);
                  top -= height;
                  return (
                    <rect
                      key={label}
                      className={`bar ${tone}`}
                      x={place * STEP + 1.5}
                      y={top}
                      width={STEP - 3}
                      height={height}
                    />
                  );
                })}
              </g>
            );
          })}
        </svg>
        <span className="axis">
          <span>{days[0] && date(days[0])}</span>
          <span>{days.length > 0 && date(days[days.length - 1] as string)}</span>
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
