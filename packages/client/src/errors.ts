import type { components } from "./api";

/** What kind of failure it was; programs decide by this and by `code`, never by a text. */
export type AuthErrorKind =
  /** There is no session, or it has ended. */
  | "signed_out"
  /** This device has no network. The user stays signed in. */
  | "offline"
  /** The service did not answer, or answered 5xx. The user stays signed in. */
  | "server_unavailable"
  /** Too many tries; see `retryAfter`. */
  | "rate_limited"
  | "invalid_credentials"
  /** Fields were refused; see `errors`. */
  | "validation"
  /** The password was right; `mfa` says how the sign-in goes on. */
  | "mfa_required"
  /** The user has to verify again who they are. The session goes on, and a new access token does not help (RFC 9470). */
  | "step_up_required"
  | "forbidden"
  | "failed";

/** A field of the request and what is wrong with it. */
export type FieldError = components["schemas"]["FieldProblem"];

/** A sign-in that waits for a second factor: what `AuthClient.mfa` takes. */
export interface MfaNeeded {
  /** Names the sign-in. */
  flow: string;
  methods: components["schemas"]["FactorMethod"][];
  /** What `AuthClient.passkeys.use` takes, where a passkey is among them. */
  passkey: components["schemas"]["PasskeyRequestOptions"] | null;
  /** For how long it waits, in seconds. */
  expiresIn: number;
}

/** The codes that say that a session is over. */
const OVER =
  /^(session_expired|session_revoked|password_changed|account_inactive|refresh_token_reused|refresh_token_required)$/;
/** The codes with which a new access token helps. */
const STALE = /^(token_expired|token_invalid)$/;

/** Whether a `WWW-Authenticate` asks for another verification of the user (RFC 9470, 3). */
export const isStepUp = (challenge: string | null): boolean => /insufficient_user_authentication/.test(challenge ?? "");

/**
 * What a 401 means for the session, by its code and its `WWW-Authenticate`. `stale`: a new access token helps; what is no problem
 * document of the service, such as the answer of an API of your own, counts as that. `over`: the session has ended.
 * `kept`: it is about something else, such as a wrong password or a verification that is too old, and nothing follows from it.
 */
export function meaningOf(code: string | null, challenge: string | null = null): "stale" | "over" | "kept" {
  if (code && OVER.test(code)) return "over";
  if (isStepUp(challenge)) return "kept";
  return code === null || STALE.test(code) || code.startsWith("http_") ? "stale" : "kept";
}

/** The code of an answer's problem document; null when it is none. */
export async function codeOf(response: Response): Promise<string | null> {
  const problem: unknown = await response.json().catch(() => null);
  const code = (problem as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : null;
}

/** What is said by code, else by kind, where the service said nothing. */
const DETAILS: Record<string, string> = {
  offline: "There is no network.",
  timeout: "There was no answer in time.",
  server_unavailable: "The service cannot be reached.",
  foreign_server_unavailable: "The service cannot be reached, or its CORS_ORIGINS lack this page's origin.",
  cors_blocked: "The service's CORS_ORIGINS lack this page's origin.",
  cookies_blocked: "The browser blocks cookies. Signing in needs them.",
  signed_out: "There is no session. Sign in.",
  passkeys_unsupported: "This browser has no passkeys.",
  passkey_cancelled: "The passkey was not used.",
  passkey_exists: "This device has a passkey of this account already.",
};

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
  mfa?: MfaNeeded | null;
}

/** Every failure of this package. */
export class AuthError extends Error {
  readonly kind: AuthErrorKind;
  /**
   * Stable, in `snake_case`: the service's code, or one of this package: `offline`, `timeout`, `server_unavailable`, `cors_blocked`,
   * `cookies_blocked`, `signed_out`, `destination_refused`, `redirect_refused`, `passkeys_unsupported`, `passkey_cancelled`,
   * `passkey_exists`.
   */
  readonly code: string;
  /** The HTTP status; null when there was no answer. */
  readonly status: number | null;
  /** One English sentence, never empty; show a text of your own, chosen by `code`. */
  readonly detail: string;
  readonly errors: FieldError[];
  /** How long to wait, in seconds. */
  readonly retryAfter: number | null;
  /** What the operator finds the request by. */
  readonly requestId: string | null;
  /** The page that explains the code. */
  readonly docs: string | null;
  /** How a sign-in goes on; only with the kind `mfa_required`. */
  readonly mfa: MfaNeeded | null;
  /** @internal */
  readonly brand = BRAND;

  constructor(details: Details) {
    const { kind, code } = details;
    const detail = details.detail || DETAILS[code] || DETAILS[kind] || `The request failed: ${code}.`;
    super(detail);
    this.name = "AuthError";
    this.kind = kind;
    this.code = code;
    this.status = details.status ?? null;
    this.detail = detail;
    this.errors = details.errors ?? [];
    this.retryAfter = details.retryAfter ?? null;
    this.requestId = details.requestId ?? null;
    this.docs = details.docs ?? null;
    this.mfa = details.mfa ?? null;
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
  if (code === "step_up_required" || code === "mfa_required") return code;
  if ((status === 401 || status === 403) && (OVER.test(code) || STALE.test(code) || code === "missing_token"))
    return status === 403 && code === "account_inactive" ? "forbidden" : "signed_out";
  return status === 403 ? "forbidden" : "failed";
}

function mfaOf(code: string, { flow, methods, expires_in, passkey }: Record<string, unknown>): MfaNeeded | null {
  if (code !== "mfa_required" || typeof flow !== "string" || !Array.isArray(methods)) return null;
  return {
    flow,
    methods: methods as MfaNeeded["methods"],
    passkey: (passkey as MfaNeeded["passkey"]) ?? null,
    expiresIn: Number(expires_in) || 0,
  };
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
    mfa: mfaOf(code, problem),
  });
}

/**
 * The error for a request that got no answer. A service that does not list this origin is unavailable, too, and not a refusal: a proxy in
 * front of it that answers instead looks the same.
 */
export function noAnswer(isLate: boolean, isForeign: boolean, isRefused: boolean | null): AuthError {
  if (globalThis.navigator?.onLine === false) return new AuthError({ kind: "offline", code: "offline" });
  const code = isLate ? "timeout" : isRefused ? "cors_blocked" : "server_unavailable";
  return new AuthError({ kind: "server_unavailable", code, detail: isForeign ? DETAILS[`foreign_${code}`] : "" });
}
