import { useEffect, useRef, useState } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

export interface PlotProps {
  /** From the first day to the last. */
  days: string[];
  /** Stacked, the lowest first. */
  stack: { tone: "bad" | "main"; values: number[] }[];
  /** All of the stack together in the time before, day by day. */
  before: number[] | undefined;
  isRtl: boolean;
  nameDay: (day: string) => string;
  nameNumber: (value: number) => string;
  /** The day that is pointed at. */
  onPoint: (index: number | null) => void;
}

const HEIGHT = 190;

/** The end of the axis: 1, 2, 4, 6 or 8 times a power of ten, so that its half is a whole number as well. */
function roundUp(most: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, most)));
  return Math.max(2, [1, 2, 4, 6, 8, 10].map((step) => step * power).find((end) => end >= most) ?? most);
}

/** Counts the changes of what colours are: a canvas does not follow the style sheet by itself. */
function usePaint(): number {
  const [paint, setPaint] = useState(0);
  useEffect(() => {
    const again = () => setPaint((count) => count + 1);
    const queries = ["(prefers-color-scheme: dark)", "(forced-colors: active)"].map((query) => matchMedia(query));
    for (const query of queries) query.addEventListener("change", again);
    const theme = new MutationObserver(again);
    theme.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    return () => {
      for (const query of queries) query.removeEventListener("change", again);
      theme.disconnect();
    };
  }, []);
  return paint;
}

/** Bars per day, with the time before as a broken line. For the eye and the pointer: the table beside it has the same numbers. */
export default function Plot(props: PlotProps) {
  const place = useRef<HTMLDivElement>(null);
  const latest = useRef(props);
  latest.current = props;
  const paint = usePaint();
  const key = JSON.stringify([props.days, props.stack, props.before, props.isRtl, paint]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: `key` says everything that is drawn
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const { days, stack, before, isRtl, nameDay, nameNumber } = latest.current;
    // The highest bar is drawn first, and the lower parts of the stack over it.
    const layers = stack.map(({ tone }, at) => ({
      tone,
      values: days.map((_, day) => stack.slice(0, at + 1).reduce((sum, { values }) => sum + (values[day] ?? 0), 0)),
    }));
    layers.reverse();
    const colour = (selector: string, property: "fill" | "color" | "stroke") => {
      const probe = element.querySelector(selector);
      return probe ? getComputedStyle(probe)[property] : "";
    };
    // The canvas runs from left to right, and so would a date on it.
    const isolate = (text: string) => (isRtl ? `\u2067${text}\u2069` : text);
    const [ink, line] = [colour(".ink", "color"), colour(".grid", "stroke")];
    const font = `${getComputedStyle(element).fontSize} ${getComputedStyle(element).fontFamily}`;
    const most = roundUp(Math.max(...(layers[0]?.values ?? []), ...(before ?? [])));
    const chart = new uPlot(
      {
        width: element.clientWidth,
        height: HEIGHT,
        // The first and the last day's names are wider than their bars.
        padding: [8, 28, 0, 28],
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
        scales: {
          x: { time: false, dir: isRtl ? -1 : 1, range: [-0.5, days.length - 0.5] },
          y: { range: [0, most] },
        },
        axes: [
          {
            stroke: ink,
            font,
            size: 34,
            gap: 9,
            grid: { show: false },
            ticks: { show: false },
            splits: () => [0, Math.floor((days.length - 1) / 2), days.length - 1],
            values: (_, splits) => splits.map((at) => isolate(nameDay(days[at] ?? ""))),
          },
          {
            stroke: ink,
            font,
            side: isRtl ? 1 : 3,
            grid: { stroke: line, width: 1 },
            ticks: { show: false },
            splits: () => [0, most / 2, most],
            values: (_, splits) => splits.map(nameNumber),
            size: 24 + 9 * nameNumber(most).length,
          },
        ],
        series: [
          {},
          ...layers.map(({ tone }) => ({
            fill: colour(`.bar.${tone}`, "fill"),
            width: 0,
            points: { show: false },
            paths: uPlot.paths.bars?.({ size: [0.7, 48] }),
          })),
          ...(before ? [{ stroke: ink, width: 1.5, dash: [3, 4], points: { show: false } }] : []),
        ] as uPlot.Series[],
        hooks: { setCursor: [({ cursor }) => latest.current.onPoint(cursor.idx ?? null)] },
      },
      [days.map((_, at) => at), ...layers.map(({ values }) => values), ...(before ? [before] : [])],
      element,
    );
    const size = new ResizeObserver(() => chart.setSize({ width: element.clientWidth, height: HEIGHT }));
    size.observe(element);
    return () => {
      size.disconnect();
      chart.destroy();
    };
  }, [key]);

  return (
    <div className="plot" ref={place} aria-hidden="true">
      {/* What the colours of the style sheet are at this moment. */}
      <svg width="0" height="0" className="probe" aria-hidden="true">
        <rect className="bar main" />
        <rect className="bar bad" />
        <line className="grid" />
        <text className="ink" />
      </svg>
    </div>
  );
}
