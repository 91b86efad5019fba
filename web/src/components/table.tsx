import type { ReactNode } from "react";

/** A column of a table whose rows are one line high. */
export type Column = {
  title: string;
  /** A class of the style sheet; without one the column takes what is left. */
  width?: string;
  /** The title is for screen readers alone. */
  isHidden?: boolean;
};

/** A table that scrolls by itself where it is wider, or with `tall` higher, than its place. Columns with widths make its rows one
 * line high. */
export function Table({
  label,
  columns,
  tall = false,
  children,
}: {
  label: string;
  columns: string[] | Column[];
  tall?: boolean;
  /** The rows. */
  children: ReactNode;
}) {
  const all: Column[] = columns.map((column) => (typeof column === "string" ? { title: column } : column));
  const isLined = all.some(({ width }) => width);
  return (
    <div className={tall ? "scroll tall" : "scroll"} tabIndex={0} role="region" aria-label={label}>
      <table className={isLined ? "lined" : undefined}>
        {isLined && (
          <colgroup>
            {all.map(({ title, width }) => (
              <col key={title} className={width} />
            ))}
          </colgroup>
        )}
        <thead>
          <tr>
            {all.map(({ title, isHidden }) => (
              <th scope="col" key={title}>
                {isHidden ? <span className="visually-hidden">{title}</span> : title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}
