import { isAuthError } from "@josoor/auth";
import { QueryClient, QueryClientProvider, type UseQueryResult } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { useI18n } from "../i18n";
import { messageOf } from "./form";
import { Loading, Notice } from "./layout";

const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5000,
      // What was refused stays refused; what got no answer is asked for again.
      retry: (count, error) =>
        isAuthError(error) && (error.kind === "offline" || error.kind === "server_unavailable") && count < 5,
      networkMode: "always",
    },
  },
});

export function Data({ children }: { children: ReactNode }) {
  return <QueryClientProvider client={queries}>{children}</QueryClientProvider>;
}

/** Shows what was asked for, or that it is coming, or why it is not, with a way to ask again. */
export function Result<T>({ of, children }: { of: UseQueryResult<T>; children: (data: T) => ReactNode }) {
  const i18n = useI18n();
  if (of.data !== undefined) return children(of.data);
  if (of.isPending) return <Loading />;
  return (
    <Notice kind="bad">
      <p>{messageOf(of.error, i18n)}</p>
      <button type="button" className="button" onClick={() => void of.refetch()}>
        {i18n.t("offline.retry")}
      </button>
    </Notice>
  );
}

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

/** The pages of a list. */
export function Pager({ page, pages, onPage }: { page: number; pages: number; onPage: (page: number) => void }) {
  const { t, number } = useI18n();
  if (pages <= 1) return null;
  return (
    <nav className="pager" aria-label={t("list.pages")}>
      <button
        type="button"
        className="button quiet"
        aria-disabled={page <= 1}
        onClick={() => page > 1 && onPage(page - 1)}
      >
        {t("list.previous")}
      </button>
      <span role="status">{t("list.page_of", { page: number(page), pages: number(pages) })}</span>
      <button
        type="button"
        className="button quiet"
        aria-disabled={page >= pages}
        onClick={() => page < pages && onPage(page + 1)}
      >
        {t("list.next")}
      </button>
    </nav>
  );
}
