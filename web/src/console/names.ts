import { useAuth } from "@josoor/auth/react";
import { useQueries } from "@tanstack/react-query";
import type { AdminUser } from "./user-fields";

/** How long a name is taken from memory, in milliseconds. */
const FRESH = 5 * 60_000;

/** The users of some ids, as far as they are known yet. Each is asked for once; who is gone for good has no name. */
export function useNames(ids: (number | null)[]): Map<number, AdminUser> {
  const { client } = useAuth();
  const distinct = [...new Set(ids)].filter((id) => id !== null);
  return useQueries({
    queries: distinct.map((id) => ({
      queryKey: ["user", String(id)],
      queryFn: () => client.request<AdminUser>("GET", `/admin/users/${id}`),
      staleTime: FRESH,
      retry: false,
    })),
    combine: (found) => new Map(found.flatMap(({ data }) => (data ? [[data.id, data] as const] : []))),
  });
}
