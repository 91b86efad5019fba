import type { components } from "./api";
import { createDestinations, isRedirect, redirectRefused } from "./destination";
import { AuthError, codeOf, errorOf, isAuthError, meaningOf, noAnswer, signedOut } from "./errors";
import { localStore, reliable } from "./storage";
import type { AuthClient, AuthClientOptions, AuthEvent, AuthState, RequestOptions, SignOutReason, User } from "./types";

type TokenResponse = components["schemas"]["TokenResponse"];

/** What tabs tell each other. */
type Message =
  | { type: "signed-out"; reason: SignOutReason }
  | { type: "signed-in" | "refreshed"; access_token: string; expires_in: number; user: User };

// The names of the platform's first front end, which other code of its pages may read.
const ACCESS = "josoor_access_token";
const USER = "josoor_user";
const REFRESH = "josoor_refresh_token";
/** Says that a sign-out could not be told to the service yet. */
const LEAVING = "josoor_auth_leaving";
/** Carries messages where there is no BroadcastChannel. */
const EVENT = "josoor_auth_event";

/** How long a tab waits for another one that is refreshing. The server's grace settles it when both do. */
const LOCK_PATIENCE = 2000;

/**
 * A clock for lengths of time. A machine that slept stops `performance.now` in some browsers, and a user may set `Date.now`;
 * whichever says that more time has passed is believed, because a refresh too many is harmless.
 */
const clock = () => ({ steady: performance.now(), wall: Date.now() });
const since = (start: ReturnType<typeof clock>) =>
  Math.max(performance.now() - start.steady, Date.now() - start.wall) / 1000;

export function createAuthClient(options: AuthClientOptions = {}): AuthClient {
  const destinations = createDestinations(options.baseUrl ?? "", options.origins ?? []);
  const byCookie = (options.storage ?? "cookie") === "cookie";
  const store = reliable(options.storage === "cookie" || !options.storage ? "memory" : options.storage);
  const name = options.channel ?? "josoor-auth";
  const timeout = options.timeout ?? 10_000;
  const rawFetch: typeof fetch = (input, init) => (options.fetch ?? globalThis.fetch)(input, init);

  let state: AuthState = Object.freeze({ status: "loading", user: null, connectivity: "online", reason: null });
  let token: { access: string; lifetime: number; at: ReturnType<typeof clock> } | null = null;
  /** Counts sign-ins and sign-outs: an answer that belongs to an earlier count is thrown away. */
  let epoch = 0;
  let flight: Promise<string> | null = null;
  let started: Promise<void> | null = null;
  let retryTimer: ReturnType<typeof setTimeout> | undefined;
  let retries = 0;
  let disposed = false;
  const listeners = new Set<(event: AuthEvent, state: AuthState) => void>();

  // --- state -------------------------------------------------------------------------------------------------------

  function set(event: AuthEvent | null, change: Partial<AuthState>) {
    state = Object.freeze({ ...state, ...change });
    const seen = state;
    if (event) for (const listener of listeners) tell(listener, event, seen);
  }

  /** In a task of its own, so that a listener may call this client, and what it throws ends nothing here. */
  function tell(listener: (event: AuthEvent, state: AuthState) => void, event: AuthEvent, seen: AuthState) {
    queueMicrotask(() => {
      if (!listeners.has(listener)) return;
      try {
        listener(event, seen);
      } catch (error) {
        setTimeout(() => {
          throw error;
        });
      }
    });
  }

  function setConnectivity(connectivity: AuthState["connectivity"]) {
    if (connectivity === "online") {
      retries = 0;
      clearTimeout(retryTimer);
      retryTimer = undefined;
    }
    if (connectivity !== state.connectivity) set("connectivity", { connectivity });
    if (connectivity !== "online") retryLater();
  }

  /** Tokens arrived, from the service or from another tab. */
  async function accept(answer: TokenResponse, event: "signed-in" | "token-refreshed", tellTabs = true) {
    token = { access: answer.access_token, lifetime: answer.expires_in, at: clock() };
    const event_ = state.status === "signed-in" && state.user?.id === answer.user.id ? event : "signed-in";
    set(event_, { status: "signed-in", user: answer.user, reason: null });
    if (tellTabs) {
      const { access_token, expires_in, user } = answer;
      post({ type: event === "signed-in" ? "signed-in" : "refreshed", access_token, expires_in, user });
    }
    if (byCookie || !tellTabs) return;
    await store.set(ACCESS, answer.access_token);
    await store.set(USER, JSON.stringify(answer.user));
    if (answer.refresh_token) await store.set(REFRESH, answer.refresh_token);
  }

  /** The session is over. */
  function end(reason: SignOutReason | null, tellTabs = true) {
    epoch += 1;
    token = null;
    const wasIn = state.status === "signed-in";
    const event = wasIn ? "signed-out" : state.status === "loading" ? "initial" : null;
    set(event, { status: "signed-out", user: null, reason });
    if (tellTabs && wasIn && reason) post({ type: "signed-out", reason });
    if (byCookie) return Promise.resolve();
    return Promise.all([ACCESS, USER, REFRESH].map((key) => store.remove(key)));
  }

  function setUser(user: User) {
    if (state.status !== "signed-in" || state.user?.id !== user.id) return;
    if (JSON.stringify(user) === JSON.stringify(state.user)) return;
    set("user-updated", { user });
    if (!byCookie) void store.set(USER, JSON.stringify(user));
  }

  // --- other tabs --------------------------------------------------------------------------------------------------

  const channel = typeof BroadcastChannel === "function" ? new BroadcastChannel(name) : null;

  function post(message: Message) {
    if (channel) channel.postMessage(message);
    // Who listens here gets its own token; one in localStorage would be there for every script.
    else
      try {
        const { type } = message;
        localStore()?.setItem(
          EVENT,
          JSON.stringify({ type, reason: "reason" in message ? message.reason : null, at: Date.now() }),
        );
      } catch {
        // Then the other tabs find out with their next request.
      }
  }

  function hear(message: Message) {
    if (disposed) return;
    if (message.type === "signed-out") {
      // Not while loading: the answer to one's own question is on its way.
      if (state.status === "signed-in")
        void end(message.reason === "signed_out" ? "signed_out_elsewhere" : message.reason, false);
      return;
    }
    if (message.type === "refreshed") {
      // A refresh that another tab had begun before this one signed out must not undo that.
      if (state.status === "signed-out" || (state.user && state.user.id !== message.user?.id)) return;
    } else {
      epoch += 1;
      // The cookie is the new session's now: a sign-out of the old one that is still to be told would end that.
      leaving = null;
    }
    if (message.access_token)
      void accept(
        { ...message, token_type: "bearer" },
        message.type === "refreshed" ? "token-refreshed" : "signed-in",
        false,
      );
    else void refresh().catch(() => {});
  }

  const onMessage = (event: MessageEvent<Message>) => hear(event.data);
  const onStorage = (event: StorageEvent) => {
    if (event.key === EVENT && event.newValue) hear(JSON.parse(event.newValue) as Message);
  };
  // A page that comes back, from sleep or from the browser's memory of pages, may have slept through anything.
  const onWake = () => {
    if (globalThis.document?.visibilityState !== "hidden" && (state.connectivity !== "online" || isLeaving()))
      retryNow();
  };
  const target = globalThis.window as Window | undefined;
  channel?.addEventListener("message", onMessage);
  if (!channel) target?.addEventListener("storage", onStorage);
  target?.addEventListener("online", onWake);
  target?.addEventListener("pageshow", onWake);
  target?.document.addEventListener("visibilitychange", onWake);

  // --- requests ----------------------------------------------------------------------------------------------------

  async function send(method: string, url: URL, bearer: string | null, { body, query, signal }: RequestOptions = {}) {
    for (const [key, value] of Object.entries(query ?? {}))
      if (value !== undefined && value !== null && value !== "") url.searchParams.set(key, String(value));
    const headers: Record<string, string> = { Accept: "application/json" };
    const language = options.locale?.();
    if (language) headers["Accept-Language"] = language;
    if (bearer) headers.Authorization = `Bearer ${bearer}`;
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), timeout);
    const giveUp = () => limit.abort();
    signal?.addEventListener("abort", giveUp);
    try {
      const response = await rawFetch(url.href, {
        method,
        headers,
        body: body === undefined ? null : JSON.stringify(body),
        credentials: byCookie ? "include" : "omit",
        // The service never redirects. What does, such as the sign-in page of a network, must get neither token nor password.
        redirect: "manual",
        signal: limit.signal,
      });
      if (isRedirect(response)) throw redirectRefused("server_unavailable");
      if (!response.ok) throw await errorOf(response);
      return response.status === 204 ? undefined : await response.json();
    } catch (error) {
      if (signal?.aborted) throw signal.reason ?? error;
      throw isAuthError(error) ? error : noAnswer(limit.signal.aborted);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", giveUp);
    }
  }

  /** Sends, and takes note of whether the service can be reached. */
  async function call<T>(method: string, path: string, bearer: string | null, request?: RequestOptions): Promise<T> {
    const url = destinations.service(path);
    try {
      const answer = await send(method, url, bearer, request);
      setConnectivity("online");
      return answer as T;
    } catch (error) {
      if (isAuthError(error)) {
        const away = error.kind === "offline" || error.kind === "server_unavailable";
        // "Too busy" is said to one request; the service is there.
        if (!away || error.code === "overloaded") setConnectivity("online");
        else setConnectivity(error.kind === "offline" ? "offline" : "unavailable");
      }
      throw error;
    }
  }

  async function request<T>(method: string, path: string, request?: RequestOptions): Promise<T> {
    // Before a token is fetched for it.
    destinations.service(path);
    const used = await tokenIfAny();
    try {
      return await call<T>(method, path, used, request);
    } catch (error) {
      if (!isAuthError(error) || error.status !== 401 || !used) throw error;
      const meaning = meaningOf(error.code);
      if (meaning === "kept") throw error;
      if (token && token.access !== used) return call<T>(method, path, token.access, request);
      if (meaning === "stale") return call<T>(method, path, await refresh(), request);
      await end(error.code);
      throw error;
    }
  }

  const tokenIfAny = async () =>
    state.status === "signed-out"
      ? null
      : getAccessToken().catch((error) => {
          if (isAuthError(error) && error.kind === "signed_out") return null;
          throw error;
        });

  // --- refresh -----------------------------------------------------------------------------------------------------

  function refresh(): Promise<string> {
    flight ??= exchange().finally(() => {
      flight = null;
    });
    return flight;
  }

  /** Waits for other tabs that refresh, but never long: a suspended tab may hold the lock for ever. */
  async function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const locks = globalThis.navigator?.locks;
    if (!locks) return work();
    const patience = new AbortController();
    let began = false;
    const timer = setTimeout(() => patience.abort(), LOCK_PATIENCE);
    try {
      return (await locks.request(name, { signal: patience.signal }, () => {
        began = true;
        clearTimeout(timer);
        return work();
      })) as T;
    } catch (error) {
      if (began) throw error;
      return work();
    } finally {
      clearTimeout(timer);
    }
  }

  async function exchange(): Promise<string> {
    const begun = epoch;
    const before = token;
    const answer = await inTurn(async () => {
      // Another tab was quicker, and told us.
      if (token && token !== before) return null;
      return present(begun);
    });
    if (epoch !== begun || !answer) {
      // Somebody signed out or in meanwhile: what was asked for before that is void.
      if (token) return token.access;
      throw signedOut(state.reason ?? "signed_out");
    }
    await accept(answer, "token-refreshed");
    return answer.access_token;
  }

  /** Presents the refresh token; once more when the answer was lost, which the service knows for what it is. */
  async function present(begun: number): Promise<TokenResponse | null> {
    for (let tries = 0; ; tries += 1) {
      const refresh_token = byCookie ? null : await store.get(REFRESH);
      if (!byCookie && !refresh_token) {
        if (epoch === begun) await end(state.status === "signed-in" ? "token_invalid" : null);
        throw signedOut("signed_out");
      }
      try {
        return await call<TokenResponse>("POST", "/auth/refresh", null, { body: byCookie ? {} : { refresh_token } });
      } catch (error) {
        if (epoch !== begun || disposed) return null;
        if (!isAuthError(error)) throw error;
        const refused = error.status === 401 || error.status === 403;
        // Another tab has stored a newer one while this one was on its way.
        if (refused && tries < 2 && !byCookie && (await store.get(REFRESH)) !== refresh_token) continue;
        if (refused) await end(error.code === "missing_token" ? (state.user ? "session_expired" : null) : error.code);
        if (!refused && error.status === null && error.kind !== "offline" && tries === 0) continue;
        if (!refused && error.status !== null && state.status === "loading" && error.kind === "failed")
          await end(error.code);
        throw error;
      }
    }
  }

  async function getAccessToken({ minValidity = 30 } = {}): Promise<string> {
    if (state.status === "signed-out") throw signedOut(state.reason ?? "signed_out");
    // No more than half of a short life is asked for, or every call would refresh.
    if (token && token.lifetime - since(token.at) > Math.min(minValidity, token.lifetime / 2)) return token.access;
    return refresh();
  }

  function retryLater() {
    if (retryTimer !== undefined || disposed) return;
    const wait = Math.min(30_000, 1000 * 2 ** retries) * (0.75 + Math.random() / 2);
    retries += 1;
    retryTimer = setTimeout(retryNow, wait);
  }

  function retryNow() {
    clearTimeout(retryTimer);
    retryTimer = undefined;
    if (disposed) return;
    if (isLeaving()) void leave();
    else if (state.status === "loading") void refresh().catch(() => {});
    else if (state.status === "signed-in") void client.me().catch(() => {});
    else void call("GET", "/healthz", null).catch(() => {});
  }

  // --- signing out while the service is away -------------------------------------------------------------------------

  let leaving: { refresh_token: string | null; access: string | null } | null = null;

  function isLeaving(): boolean {
    try {
      return leaving !== null || localStore()?.getItem(LEAVING) === "1";
    } catch {
      return leaving !== null;
    }
  }

  function markLeaving(on: boolean) {
    try {
      if (on) localStore()?.setItem(LEAVING, "1");
      else localStore()?.removeItem(LEAVING);
    } catch {
      // Then it is told as long as this page lives.
    }
  }

  /** Tells the service that the session is over. Without an answer it is tried again, also after a reload. */
  async function leave(): Promise<void> {
    const known = leaving;
    try {
      const body = known?.refresh_token ? { refresh_token: known.refresh_token } : {};
      await call("POST", "/auth/logout", known?.access ?? null, { body });
    } catch (error) {
      // Refused: there is nothing to end. Anything else is tried again.
      if (!isAuthError(error) || error.status === null || error.status >= 500 || error.status === 429)
        return retryLater();
    }
    if (leaving === known) {
      leaving = null;
      markLeaving(false);
    }
  }

  async function signIn(path: string, input: object): Promise<TokenResponse | undefined> {
    if (isLeaving()) await leave();
    const answer = await call<TokenResponse>("POST", path, null, {
      body: { ...input, transport: byCookie ? "cookie" : "body" },
    });
    if (!answer?.access_token) return undefined;
    epoch += 1;
    leaving = null;
    markLeaving(false);
    await accept(answer, "signed-in");
    return answer;
  }

  // --- the client ----------------------------------------------------------------------------------------------------

  const client: AuthClient = {
    get state() {
      return state;
    },

    ready() {
      started ??= (async () => {
        if (isLeaving()) {
          await end(null, false);
          await leave();
        } else {
          await refresh().catch(() => {});
        }
      })();
      // The state of now, also for a caller that comes later.
      return started.then(() => state);
    },

    async register(input) {
      const answer = await signIn("/auth/register", input);
      return answer ? { status: "signed-in", user: answer.user } : { status: "verification-required" };
    },

    async login(input) {
      const answer = await signIn("/auth/login", input);
      if (!answer) throw new AuthError({ kind: "failed", code: "no_tokens" });
      return answer.user;
    },

    async logout() {
      leaving = { access: token?.access ?? null, refresh_token: byCookie ? null : await store.get(REFRESH) };
      markLeaving(true);
      await end("signed_out");
      await leave();
    },

    refresh,
    getAccessToken,

    async me() {
      const user = await request<User>("GET", "/auth/me");
      setUser(user);
      return user;
    },

    async updateMe(patch) {
      const user = await request<User>("PATCH", "/auth/me", { body: patch });
      setUser(user);
      return user;
    },

    async deleteAccount(input) {
      await request<void>("DELETE", "/auth/me", { body: input });
      await end("account_deleted");
    },

    sessions: {
      list: async () => (await request<components["schemas"]["SessionList"]>("GET", "/auth/sessions")).items,
      revoke: (id) => request<void>("DELETE", `/auth/sessions/${encodeURIComponent(id)}`),
      revokeOthers: async () => (await request<{ revoked: number }>("DELETE", "/auth/sessions")).revoked,
    },

    devices: {
      list: async () => (await request<components["schemas"]["DeviceList"]>("GET", "/auth/devices")).items,
      forget: (id) => request<void>("DELETE", `/auth/devices/${encodeURIComponent(id)}`),
      forgetAll: async () =>
        (await request<components["schemas"]["ForgottenResponse"]>("DELETE", "/auth/devices")).forgotten,
    },

    activity: (query) => request("GET", "/auth/activity", query ? { query } : {}),

    password: {
      forgot: (email) => call<void>("POST", "/auth/password/forgot", null, { body: { email } }),
      reset: (input) => call<void>("POST", "/auth/password/reset", null, { body: input }),
      async change(input) {
        const answer = await request<TokenResponse>("POST", "/auth/password/change", { body: input });
        epoch += 1;
        await accept(answer, "token-refreshed");
        return answer.user;
      },
    },

    email: {
      verify: (input) => request<void>("POST", "/auth/email/verify", { body: input }),
      resend: (email) => request<void>("POST", "/auth/email/verify/resend", { body: email ? { email } : {} }),
      change: (input) => request<void>("POST", "/auth/email/change", { body: input }),
    },

    account: {
      undo: (input) =>
        call<components["schemas"]["UndoneResponse"]>("POST", "/auth/account/undo", null, { body: input }),
      secure: (input) => call<void>("POST", "/auth/account/secure", null, { body: input }),
    },

    async fetch(input, init) {
      const first = new Request(input, init);
      if (!destinations.trusts(first.url)) return rawFetch(first);
      // A stream can be sent only once.
      const again = init?.body instanceof ReadableStream ? null : first.clone();
      const used = await tokenIfAny();
      if (!used) return rawFetch(first);
      const response = await destinations.carry(first, used, rawFetch);
      // The end of a redirect to another origin decides nothing about this session.
      if (response.status !== 401 || !again || !destinations.trusts(response.url || first.url)) return response;
      const code = await codeOf(response.clone());
      const meaning = meaningOf(code, response.headers.get("www-authenticate"));
      if (meaning === "kept") return response;
      if (token && token.access !== used) return destinations.carry(again, token.access, rawFetch);
      if (meaning === "over") {
        await end(code as string);
        return response;
      }
      try {
        return await destinations.carry(again, await refresh(), rawFetch);
      } catch (error) {
        if (isAuthError(error) && error.kind === "signed_out") return response;
        throw error;
      }
    },

    isTrusted: destinations.trusts,

    request,

    onAuthStateChange(listener) {
      listeners.add(listener);
      tell(listener, "initial", state);
      return () => {
        listeners.delete(listener);
      };
    },

    dispose() {
      disposed = true;
      clearTimeout(retryTimer);
      listeners.clear();
      channel?.close();
      target?.removeEventListener("storage", onStorage);
      target?.removeEventListener("online", onWake);
      target?.removeEventListener("pageshow", onWake);
      target?.document.removeEventListener("visibilitychange", onWake);
    },
  };
  return client;
}
