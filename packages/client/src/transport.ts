import { isRedirect, redirectRefused } from "./destination";
import { browserWindow } from "./environment";
import { errorOf, isAuthError, noAnswer } from "./errors";
import type { RequestOptions } from "./types";

export interface TransportOptions {
  fetch: typeof fetch;
  /** The address that answers every page that may read the service's answers. */
  health: () => URL;
  /** The longest that one request may take, in milliseconds. */
  timeout: number;
  credentials: RequestCredentials;
  locale: (() => string | undefined) | undefined;
}

export type SendRequest = (
  method: string,
  url: URL,
  bearer: string | null,
  request?: RequestOptions,
) => Promise<unknown>;

/** Sends one JSON request to the service. Every failure is an `AuthError`, but for what the caller's own signal aborted. */
export function createTransport({
  fetch: rawFetch,
  health,
  timeout,
  credentials,
  locale,
}: TransportOptions): SendRequest {
  /** Asked once until an answer arrives: each try would cost two more requests. */
  let blocked: Promise<boolean> | null = null;

  /**
   * Whether the service is there, but does not list this page's origin. A browser does not say so to scripts: a request whose answer stays
   * hidden succeeds all the same, one whose answer is to be read does not.
   */
  async function isOriginRefused(): Promise<boolean> {
    const [isReadable, isThere] = await Promise.all(
      (["cors", "no-cors"] as const).map((mode) =>
        rawFetch(health().href, { mode, credentials: "omit", signal: AbortSignal.timeout(timeout) }).then(
          () => true,
          () => false,
        ),
      ),
    );
    return !isReadable && !!isThere;
  }

  return async (method, url, bearer, { body, query, signal } = {}) => {
    for (const [key, value] of Object.entries(query ?? {}))
      if (value !== undefined && value !== null && value !== "") url.searchParams.set(key, String(value));
    const headers: Record<string, string> = { Accept: "application/json" };
    const language = locale?.();
    if (language) headers["Accept-Language"] = language;
    if (bearer) headers.Authorization = `Bearer ${bearer}`;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), timeout);
    const abort = () => limit.abort();
    signal?.addEventListener("abort", abort);
    try {
      const response = await rawFetch(url.href, {
        method,
        headers,
        body: body === undefined ? null : JSON.stringify(body),
        credentials,
        // The service never redirects. What does, such as the sign-in page of a network, must get neither token nor password.
        redirect: "manual",
        signal: limit.signal,
      });
      blocked = null;
      if (isRedirect(response)) throw redirectRefused("server_unavailable");
      if (!response.ok) throw await errorOf(response);
      return response.status === 204 ? undefined : await response.json();
    } catch (error) {
      if (signal?.aborted) throw signal.reason ?? error;
      if (isAuthError(error)) throw error;
      const isLate = limit.signal.aborted;
      const page = browserWindow();
      const isForeign = !!page && url.origin !== page.location.origin;
      if (isForeign && !isLate) blocked ??= isOriginRefused();
      throw noAnswer(isLate, isForeign, await blocked);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  };
}
