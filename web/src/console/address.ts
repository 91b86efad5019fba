import { useCallback } from "react";
import { useLocation, useSearch } from "wouter";

/** What a list shows, kept in the address: it survives a reload and "back", and can be sent to a colleague. */
export function useAddress(): [
  URLSearchParams,
  (change: Record<string, string | null>, options?: { replace?: boolean }) => void,
] {
  const search = useSearch();
  const [location, navigate] = useLocation();
  const change = useCallback(
    (values: Record<string, string | null>, options?: { replace?: boolean }) => {
      const next = new URLSearchParams(search);
      // A filter without a value is none.
      for (const [name, value] of Object.entries(values)) value ? next.set(name, value) : next.delete(name);
      const text = next.toString();
      navigate(text ? `${location}?${text}` : location, options);
    },
    [search, location, navigate],
  );
  return [new URLSearchParams(search), change];
}
