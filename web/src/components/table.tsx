import type { ReactNode } from "react";

/** A table that scrolls by itself where it is wider, or with `tall` higher, than its place. */
export function Table({
  label,
  columns,
  tall = false,
  children,
}: {
  label: string;
  columns: string[];
  tall?: boolean;
  /** The rows. */
  children: ReactNode;
}) {
  return (
    <div className={tall ? "scroll tall" : "scroll"} tabIndex={0} role="region" aria-label={label}>
      <table>
        <thead>
          <tr>
            {columns.map((column) => (
              <th scope="col" key={column}>
                {column}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}
