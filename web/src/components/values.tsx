import type { ReactNode } from "react";
import { useI18n } from "../i18n";

/** A moment, as long ago as it was; the exact time in its title. */
export function Time({ at }: { at: string }) {
  const { relative, dateTime } = useI18n();
  return (
    <time dateTime={at} title={dateTime(at)}>
      {relative(at)}
    </time>
  );
}

/** An address, an id or a code: in its own direction, whatever stands around it. */
export function Code({ children }: { children: ReactNode }) {
  return (
    <bdi dir="ltr" className="code">
      {children}
    </bdi>
  );
}
