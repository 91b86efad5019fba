import { Inbox, type LucideIcon } from "lucide-react";
import type { ReactNode } from "react";

/** A list without entries: why, and what to do about it. */
export function Empty({ icon: Icon = Inbox, children }: { icon?: LucideIcon; children: ReactNode }) {
  return (
    <div className="card empty">
      <Icon className="icon" />
      <p>{children}</p>
    </div>
  );
}
