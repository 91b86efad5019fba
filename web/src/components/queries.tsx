import { isAuthError } from "@josoor/auth";
import { QueryClient, QueryClientProvider, type UseQueryResult } from "@tanstack/react-query";
import { SearchX } from "lucide-react";
import type { ReactNode } from "react";
import { Link } from "wouter";
import { useI18n } from "../i18n";
import { Empty } from "./empty";
import { messageOf } from "./form";
import { Loading, Notice } from "./notice";

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
  if (isAuthError(of.error, "not_found")) return <Empty icon={SearchX}>{messageOf(of.error, i18n)}</Empty>;
  return (
    <Notice kind="bad">
      <p>{messageOf(of.error, i18n)}</p>
      {isAuthError(of.error) && of.error.code === "mfa_enrollment_required" && (
        <Link className="button" href="/account/two-step">
          {i18n.t("account.factors")}
        </Link>
      )}
      <button type="button" className="button" onClick={() => void of.refetch()}>
        {i18n.t("offline.retry")}
      </button>
    </Notice>
  );
}
