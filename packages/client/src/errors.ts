import type { components } from "./api";

/** What kind of failure it was; programs decide by this and by `code`, never by a text. */
export type AuthErrorKind =
  /** There is no session, or it has ended. */
  | "signed_out"
  /** This device has no network. Nobody was signed out. */
  | "offline"
  /** The service did not answer, or answered 5xx. Nobody was signed out. */
  | "server_unavailable"
  /** Too many tries; see `retryAfter`. */
  | "rate_limited"
  | "invalid_credentials"
  /** Fields were refused; see `errors`. */
  | "validation"
  | "forbidden"
  | "failed";

/** A field of the request and what is wrong with it. */
export type FieldError = components["schemas"]["FieldProblem"];

/** The codes that say that a session is over (or never was). */
const ENDED =
  /^(session_expired|session_revoked|password_changed|account_inactive|refresh_token_reused|missing_token|token_invalid|token_expired|signed_out)$/;

// Not `instanceof`: two copies of this package in one bundle must know each other's errors.
const BRAND = "josoor-auth-error";

interface Details {
  kind: AuthErrorKind;
  code: string;
  status?: number | null;
  detail?: string;
  errors?: FieldError[];
  retryAfter?: number | null;
  requestId?: string | null;
  docs?: string | null;
}

/** Every failure of this package. */
export class AuthError extends Error {
  readonly kind: AuthErrorKind;
  /** Stable, in `snake_case`: the service's code, or `offline`, `timeout`, `server_unavailable`, `signed_out`. */
  readonly code: string;
  /** The HTTP status; null when there was no answer. */
  readonly status: number | null;
  /** One English sentence; show a text of your own, chosen by `code`. */
  readonly detail: string;
  readonly errors: FieldError[];
  /** How long to wait, in seconds. */
  readonly retryAfter: number | null;
  /** What the operator finds the request by. */
  readonly requestId: string | null;
  /** The page that explains the code. */
  readonly docs: string | null;
  /** @internal */
  readonly brand = BRAND;

  constructor(details: Details) {
    super(details.detail || details.code);
    this.name = "AuthError";
    this.kind = details.kind;
    this.code = details.code;
    this.status = details.status ?? null;
    this.detail = details.detail ?? "";
    this.errors = details.errors ?? [];
    this.retryAfter = details.retryAfter ?? null;
    this.requestId = details.requestId ?? null;
    this.docs = details.docs ?? null;
  }
}

/** Whether it is an error of this package, and, if given, one with this code. */
export function isAuthError(error: unknown, code?: string): error is AuthError {
  const candidate = error as Partial<AuthError> | null | undefined;
  return candidate?.brand === BRAND && (code === undefined || candidate.code === code);
}

export const signedOut = (code: string): AuthError => new AuthError({ kind: "signed_out", code });

/** `Retry-After` in seconds: a number of them or a date (RFC 9110, 10.2.3), which is counted from the server's own `Date`. */
function retryAfter(headers: Headers): number | null {
  const value = headers.get("retry-after");
  if (!value) return null;
  if (/^\d+$/.test(value)) return Number(value);
  const seconds = (Date.parse(value) - Date.parse(headers.get("date") ?? new Date().toUTCString())) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, Math.ceil(seconds)) : null;
}

function kindOf(status: number, code: string): AuthErrorKind {
  if (status === 429) return "rate_limited";
  if (status >= 500) return "server_unavailable";
  if (status === 422) return "validation";
  if (code === "invalid_credentials") return "invalid_credentials";
  if ((status === 401 || status === 403) && ENDED.test(code))
    return status === 403 && code === "account_inactive" ? "forbidden" : "signed_out";
  return status === 403 ? "forbidden" : "failed";
}

/** The error in an answer that is not 2xx, also when a proxy made it and it is no problem document (RFC 9457). */
export async function errorOf(response: Response): Promise<AuthError> {
  const { status, headers } = response;
  const body: unknown = await response.json().catch(() => null);
  const problem = (body && typeof body === "object" ? body : {}) as Record<string, unknown>;
  const text = (name: string) => (typeof problem[name] === "string" ? (problem[name] as string) : null);
  const code = text("code") ?? (status >= 500 ? "server_unavailable" : `http_${status}`);
  return new AuthError({
    kind: kindOf(status, code),
    code,
    status,
    detail: text("detail") ?? "",
    errors: Array.isArray(problem.errors) ? (problem.errors as FieldError[]) : [],
    retryAfter: retryAfter(headers),
    requestId: text("request_id") ?? headers.get("x-request-id"),
    docs: text("type"),
  });
}

/** The error for a request that got no answer. */
export function noAnswer(timedOut: boolean): AuthError {
  if (globalThis.navigator?.onLine === false) return new AuthError({ kind: "offline", code: "offline" });
  return new AuthError({ kind: "server_unavailable", code: timedOut ? "timeout" : "server_unavailable" });
}
