import type { components } from "./api";
import type { AuthError } from "./errors";
import type { Role } from "./roles";
import type { TokenStorage } from "./storage";

/** Everything that the service takes and gives, by the names of its OpenAPI document. */
export type Schemas = components["schemas"];
/** A user, as the service describes it. */
export type User = components["schemas"]["UserResponse"];
/** A session of the user: one sign-in on one device. */
export type Session = components["schemas"]["SessionResponse"];
/** A device that the account knows: one that the user signed in on since the password and the address last changed. */
export type Device = components["schemas"]["DeviceResponse"];
/** A passkey of the user. */
export type Passkey = components["schemas"]["PasskeyResponse"];
/** A page of what happened to one's account. */
export type ActivityList = components["schemas"]["ActivityList"];
export type { Role };

/** Why the user is signed out. */
export type SignOutReason =
  | "signed_out"
  | "signed_out_elsewhere"
  | "session_expired"
  | "session_revoked"
  | "password_changed"
  | "account_inactive"
  | "account_deleted"
  | "refresh_token_reused"
  | "token_invalid"
  | (string & {});

/** What is known about the user of this page. A new, frozen object at every change. */
export interface AuthState {
  /** `loading` until the service has said once whether there is a session. */
  readonly status: "loading" | "signed-in" | "signed-out";
  readonly user: User | null;
  /** `offline`: no network. `unavailable`: the service does not answer as it should. Neither signs the user out. */
  readonly connectivity: "online" | "offline" | "unavailable";
  /** Why the last session ended; null when there was none. */
  readonly reason: SignOutReason | null;
}

export type AuthEvent = "initial" | "signed-in" | "signed-out" | "token-refreshed" | "user-updated" | "connectivity";

export interface AuthClientOptions {
  /** Where the service is: "" for this origin; it may have a path. */
  baseUrl?: string;
  /**
   * Where tokens are kept. `cookie` (default): the refresh token in a cookie that no script can read, the access token in
   * memory. `localStorage`: both where every script of the page can read them. `memory`: gone with the page.
   */
  storage?: "cookie" | "localStorage" | "memory" | TokenStorage;
  /** Origins besides the service's and the page's own whose requests through `fetch` and axios get the token. */
  origins?: string[];
  fetch?: typeof fetch;
  /** The longest that one request may take, in milliseconds. */
  timeout?: number;
  /** Sent as `Accept-Language`. */
  locale?: () => string | undefined;
  /** The name of the channel between tabs. */
  channel?: string;
  /**
   * Called when the service wants the user verified once more (`step_up_required`): ask for a code or the password, call `stepUp`, and
   * resolve to true; the request is then sent once more. With false, or without this, the request fails. Requests at the same time share
   * one call.
   */
  onStepUpRequired?: (error: AuthError) => Promise<boolean>;
}

export interface RequestOptions {
  body?: unknown;
  query?: Record<string, string | number | boolean | null | undefined>;
  signal?: AbortSignal;
}

/** A signed-in (or not) user of the service. Make one per page and share it. */
export interface AuthClient {
  readonly state: AuthState;
  /** Asks the service once whether there is a session. Settles after the first answer, or the first failure to get one. */
  ready(): Promise<AuthState>;
  register(
    input: Omit<Schemas["RegisterRequest"], "transport">,
  ): Promise<{ status: "signed-in"; user: User } | { status: "verification-required" }>;
  /** An account with a second factor: an error of the kind `mfa_required`, whose `mfa` has what `mfa()` takes. */
  login(input: { email: string; password: string }): Promise<User>;
  /** Finishes such a sign-in. `mfa_code_invalid`: another code may be tried; `flow_expired`: begin again with the password. */
  mfa(input: Schemas["FinishLoginRequest"]): Promise<User>;
  readonly mailCode: {
    /**
     * Has a code sent to an address, where the service has `login.mail_code`; the same for every address, whether it has an account or
     * not. Gives what `verify` takes besides the code.
     */
    request(email: string): Promise<Schemas["MailCodeResponse"]>;
    /**
     * Signs in with the code. `mail_code_invalid`: another one may be tried; `flow_expired`: ask for another mail. An account with a
     * second factor: an error of the kind `mfa_required`.
     */
    verify(input: Schemas["VerifyMailCodeRequest"]): Promise<User>;
    /** Has a code sent to the signed-in user, where the account has neither a password nor a second factor: for `stepUp`. */
    requestForStepUp(): Promise<void>;
  };
  /**
   * Verifies the user of the session once more: with a code or a passkey, or, where there is no second factor, with the password. With
   * `passkey` the browser asks for one of the account's.
   */
  stepUp(input: { code: string } | { password: string } | { passkey: true }): Promise<User>;
  /** Signs out here at once, also when the service is away; the session is ended as soon as it is back. */
  logout(): Promise<void>;
  /** Gets a new access token now. Calls at the same time share one request. */
  refresh(): Promise<string>;
  /** An access token that is good for at least `minValidity` seconds (30). */
  getAccessToken(options?: { minValidity?: number }): Promise<string>;
  me(): Promise<User>;
  /** What is left out stays; null removes it. */
  updateMe(patch: Schemas["UpdateMeRequest"]): Promise<User>;
  deleteAccount(input: { password: string }): Promise<void>;
  readonly sessions: {
    list(): Promise<Session[]>;
    revoke(id: string): Promise<void>;
    /** Ends all but this one; gives how many. */
    revokeOthers(): Promise<number>;
  };
  readonly devices: {
    list(): Promise<Device[]>;
    /** Sessions on it go on; the next sign-in there is one from a new device. */
    forget(id: string): Promise<void>;
    /** Gives how many. */
    forgetAll(): Promise<number>;
  };
  readonly factors: {
    list(): Promise<Schemas["FactorsResponse"]>;
    /** Begins to add an authenticator app: its secret and QR code. */
    beginTotp(input: { password: string }): Promise<Schemas["TotpSetupResponse"]>;
    /** Adds it. Gives the recovery codes, where there were none: show them now, they are not given again. */
    confirmTotp(input: { code: string }): Promise<string[] | null>;
    removeTotp(): Promise<void>;
    /** Ten new ones; the earlier ones end. */
    replaceRecoveryCodes(): Promise<string[]>;
  };
  /** Passkeys. A ceremony that the user ends, or the browser, fails with `passkey_cancelled`. */
  readonly passkeys: {
    /** Whether this browser has passkeys at all. */
    isSupported(): boolean;
    /** Whether it offers them at the field of the address (`autocomplete="username webauthn"`). */
    isOfferedInFields(): Promise<boolean>;
    list(): Promise<Passkey[]>;
    /**
     * Makes a passkey and adds it. Gives the recovery codes, where there were none: show them now, they are not given again.
     * `passkey_exists`: this device has one of this account already.
     */
    register(input: { password: string; name?: string }): Promise<{ passkey: Passkey; recoveryCodes: string[] | null }>;
    rename(id: string, name: string): Promise<Passkey>;
    /** Also notifies the browser, where it takes that, so that it offers the passkey no longer. */
    remove(id: string): Promise<void>;
    /**
     * Signs in with a passkey alone. With `mediation: "conditional"` the browser offers it at the field of the address, for as long as
     * the page is open or until `signal`; any other ceremony of this client ends it.
     */
    signIn(options?: { mediation?: "conditional"; signal?: AbortSignal }): Promise<User>;
    /** Asks the browser for a passkey: `mfa({ flow, method: "passkey", assertion: await passkeys.use(error.mfa.passkey) })`. */
    use(options: Schemas["PasskeyRequestOptions"], signal?: AbortSignal): Promise<Schemas["PasskeyAssertion"]>;
  };
  activity(query?: { page?: number; page_size?: number }): Promise<ActivityList>;
  readonly password: {
    forgot(email: string): Promise<void>;
    /** `recovery_blocked`: the link alone is not enough; `previous_password` is one from before the address was changed. */
    reset(input: { token: string; new_password: string; previous_password?: string }): Promise<void>;
    /** This session goes on; all others end. */
    change(input: { current_password: string; new_password: string }): Promise<User>;
  };
  readonly email: {
    verify(input: { token: string; password?: string }): Promise<void>;
    resend(email?: string): Promise<void>;
    change(input: { new_email: string; password: string }): Promise<void>;
  };
  readonly account: {
    /**
     * Takes back a change of the address, or a deletion, with the token of the link in the message about it. Ends all sessions. With
     * `recovery_required` a password has to be set next, by the link of a second mail.
     */
    undo(input: { token: string }): Promise<Schemas["UndoneResponse"]>;
    /** Ends all sessions, forgets all devices and starts a reset, with the token of the mail about a new device. */
    secure(input: { token: string; email: string }): Promise<void>;
  };
  /** `fetch` with the access token, for the service, this page's origin and `origins`. A 401 is answered by one refresh and one more try. */
  fetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response>;
  /**
   * Whether the token may be sent to an address: one of the service, of this page's origin or of `origins`, over HTTP and without
   * credentials in it. For adapters of your own.
   */
  isTrusted(url: string | URL): boolean;
  /**
   * A JSON request to a path of the service, which begins with exactly one slash. Throws `AuthError`; gives undefined for an
   * empty answer.
   */
  request<T>(method: string, path: string, options?: RequestOptions): Promise<T>;
  /** Listeners run in a task of their own, after the change; what one throws stops no other. Gives the function that removes the listener. */
  onAuthStateChange(listener: (event: AuthEvent, state: AuthState) => void): () => void;
  /** Ends timers and listeners. */
  dispose(): void;
}
