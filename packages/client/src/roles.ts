import type { components } from "./api";

/** What a user may do. */
export type Role = components["schemas"]["RoleName"];

/** The roles, lowest first, in the server's order. */
export const ROLES: readonly Role[] = ["user", "analyst", "admin"];

/** Whether a user has at least this role. For what is shown only: the service decides by itself. */
export function hasRole(user: { role: Role } | null | undefined, needed: Role): boolean {
  return !!user && ROLES.indexOf(user.role) >= ROLES.indexOf(needed);
}
