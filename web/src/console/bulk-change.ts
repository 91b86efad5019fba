import type { Role, User } from "@josoor/auth";

/** What is changed for many users at once. */
export interface BulkChange {
  role?: Role;
  is_active?: boolean;
}

/** What takes a change back: a request for each value that the changed users had before. */
export function undoOf(
  change: BulkChange,
  changed: Pick<User, "id" | "role" | "is_active">[],
): { ids: number[]; change: BulkChange }[] {
  const groups = new Map<string, { ids: number[]; change: BulkChange }>();
  for (const { id, role, is_active } of changed) {
    const before: BulkChange = {
      ...(change.role === undefined ? {} : { role }),
      ...(change.is_active === undefined ? {} : { is_active }),
    };
    const key = JSON.stringify(before);
    const group = groups.get(key) ?? { ids: [], change: before };
    group.ids.push(id);
    groups.set(key, group);
  }
  return [...groups.values()];
}
