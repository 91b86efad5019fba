import type { components } from "./api";
import { createDestinations } from "./destination";
import { attempt, browserWindow } from "./environment";
import { AuthError, codeOf, errorOf, isAuthError, isStepUp, meaningOf, signedOut } from "./errors";
import { localStore, reliable } from "./storage";
import { connectTabs, type TabMessage } from "./tabs";
import { createTransport } from "./transport";
import type { AuthClient, AuthClientOptions, AuthEvent, AuthState, RequestOptions, SignOutReason, User } from "./types";

type TokenResponse = components["schemas"]["TokenResponse"];

// The names of the platform's first front end, which other code of its pages may read.
const ACCESS = "josoor_access_token";
const USER = "josoor_user";
const REFRESH = "josoor_refresh_token";
/** Marks a sign-out that the service has not confirmed yet. */
const PENDING_LOGOUT = "josoor_auth_leaving";

/** How long a tab waits for another one that is refreshing, in milliseconds. The server's grace settles it when both do. */
const LOCK_TIMEOUT = 2000;

/**
 * A clock for lengths of time. A machine that slept stops `performance.now` in some browsers, and a user may set `Date.now`:
 * the longer of the two counts, because a refresh too many is harmless.
 */
const clock = () => ({ steady: performance.now(), wall: Date.now() });
const since = (start: ReturnType<typeof clock>) =>
  Math.max(performance.now() - start.steady, Date.now() - start.wall) / 1000;

/** Whether this browser keeps cookies of this page. `navigator.cookieEnabled` may be true where the user blocks them. */
const keepsCookies = () => {
  // biome-ignore lint/suspicious/noDocumentCookie: the Cookie Store API is not everywhere
  document.cookie = "josoor_auth=1;Max-Age=9";
  return document.cookie.includes("josoor_auth=");
};

export function createAuthClient(options: AuthClientOptions = {}): AuthClient {
  const destinations = createDestinations(options.baseUrl ?? "", options.origins ?? []);
  const byCookie = (options.storage ?? "cookie") === "cookie";
  const transport = byCookie ? "cookie" : "body";
  const store = reliable(options.storage === "cookie" || !options.storage ? "memory" : options.storage);
  const name = options.channel ?? "josoor-auth";
  const rawFetch: typeof fetch = (input, init) => (options.fetch ?? globalThis.fetch)(input, init);
  const sendRequest = createTransport({
    fetch: rawFetch,
    health: () => destinations.service("/healthz"),
    timeout: options.timeout ?? 10_000,
    credentials: byCookie ? "include" : "omit",
    locale: options.locale,
  });

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

  function setState(event: AuthEvent | null, change: Partial<AuthState>) {
    state = Object.freeze({ ...state, ...change });
    const seen = state;
    if (event) for (const listener of listeners) notify(listener, event, seen);
  }

  /** In a task of its own, so that a listener may call this client, and what it throws ends nothing here. */
  function notify(listener: (event: AuthEvent, state: AuthState) => void, event: AuthEvent, seen: AuthState) {
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
    if (connectivity !== state.connectivity) setState("connectivity", { connectivity });
    if (connectivity !== "online") retryLater();
  }

  /** Tokens arrived, from the service or from another tab. */
  async function acceptTokens(answer: TokenResponse, event: "signed-in" | "token-refreshed", announce = true) {
    token = { access: answer.access_token, lifetime: answer.expires_in, at: clock() };
    const event_ = state.status === "signed-in" && state.user?.id === answer.user.id ? event : "signed-in";
    setState(event_, { status: "signed-in", user: answer.user, reason: null });
    if (announce) {
      const { access_token, expires_in, user } = answer;
      tabs.send({ type: event === "signed-in" ? "signed-in" : "refreshed", access_token, expires_in, user });
    }
    if (byCookie || !announce) return;
    await store.set(ACCESS, answer.access_token);
    await store.set(USER, JSON.stringify(answer.user));
    if (answer.refresh_token) await store.set(REFRESH, answer.refresh_token);
  }

  /** The session is over. */
  function clearSession(reason: SignOutReason | null, announce = true) {
    epoch += 1;
    token = null;
    const wasIn = state.status === "signed-in";
    const event = wasIn ? "signed-out" : state.status === "loading" ? "initial" : null;
    setState(event, { status: "signed-out", user: null, reason });
    if (announce && wasIn && reason) tabs.send({ type: "signed-out", reason });
    if (byCookie) return Promise.resolve();
    return Promise.all([ACCESS, USER, REFRESH].map((key) => store.remove(key)));
  }

  function setUser(user: User) {
    if (state.status !== "signed-in" || state.user?.id !== user.id) return;
    if (JSON.stringify(user) === JSON.stringify(state.user)) return;
    setState("user-updated", { user });
    if (!byCookie) void store.set(USER, JSON.stringify(user));
  }

  // --- other tabs --------------------------------------------------------------------------------------------------

  const tabs = connectTabs(name, (message: TabMessage) => {
    if (disposed) return;
    if (message.type === "signed-out") {
      // Not while loading: the answer to one's own question is on its way.
      if (state.status === "signed-in")
        void clearSession(message.reason === "signed_out" ? "signed_out_elsewhere" : message.reason, false);
      return;
    }
    if (message.type === "refreshed") {
      // A refresh that another tab had begun before this one signed out must not undo that.
      if (state.status === "signed-out" || (state.user && state.user.id !== message.user?.id)) return;
    } else {
      epoch += 1;
      // The cookie is the new session's now: a pending sign-out of the old one would revoke that.
      pendingLogout = null;
    }
    if (message.access_token)
      void acceptTokens(
        { ...message, token_type: "bearer" },
        message.type === "refreshed" ? "token-refreshed" : "signed-in",
        false,
      );
    else void refresh().catch(() => {});
  });

  // A page that comes back, from sleep or from the browser's memory of pages, may have slept through anything.
  const onWake = () => {
    if (globalThis.document?.visibilityState !== "hidden" && (state.connectivity !== "online" || hasPendingLogout()))
      retryNow();
  };
  const page = browserWindow();
  page?.addEventListener("online", onWake);
  page?.addEventListener("pageshow", onWake);
  page?.document.addEventListener("visibilitychange", onWake);

  // --- requests ----------------------------------------------------------------------------------------------------

  /** Sends, and takes note of whether the service can be reached. */
  async function callService<T>(
    method: string,
    path: string,
    bearer: string | null,
    request?: RequestOptions,
  ): Promise<T> {
    const url = destinations.service(path);
    try {
      const answer = await sendRequest(method, url, bearer, request);
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

  let verification: Promise<boolean> | null = null;

  /** Has the page verify its user once more; one question at a time. */
  function verifyAgain(error: AuthError): Promise<boolean> {
    verification ??= Promise.resolve(options.onStepUpRequired?.(error) ?? false).finally(() => {
      verification = null;
    });
    return verification;
  }

  async function request<T>(method: string, path: string, input?: RequestOptions): Promise<T> {
    try {
      return await requestOnce<T>(method, path, input);
    } catch (error) {
      if (!isAuthError(error) || error.kind !== "step_up_required" || !(await verifyAgain(error))) throw error;
      return requestOnce<T>(method, path, input);
    }
  }

  async function requestOnce<T>(method: string, path: string, request?: RequestOptions): Promise<T> {
    // Before a token is fetched for it.
    destinations.service(path);
    const used = await tokenIfAny();
    try {
      return await callService<T>(method, path, used, request);
    } catch (error) {
      if (!isAuthError(error) || error.status !== 401 || !used) throw error;
      const meaning = meaningOf(error.code);
      if (meaning === "kept") throw error;
      if (token && token.access !== used) return callService<T>(method, path, token.access, request);
      if (meaning === "stale") return callService<T>(method, path, await refresh(), request);
      await clearSession(error.code);
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
    flight ??= refreshNow().finally(() => {
      flight = null;
    });
    return flight;
  }

  /** Waits for other tabs that refresh, but never long: a suspended tab may hold the lock for ever. */
  async function withLock<T>(work: () => Promise<T>): Promise<T> {
    const locks = page && attempt(() => globalThis.navigator?.locks);
    if (!locks) return work();
    const limit = new AbortController();
    let began = false;
    const timer = setTimeout(() => limit.abort(), LOCK_TIMEOUT);
    try {
      return (await locks.request(name, { signal: limit.signal }, () => {
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

  async function refreshNow(): Promise<string> {
    const begun = epoch;
    const before = token;
    const answer = await withLock(async () => {
      // Another tab was quicker, and sent its token.
      if (token && token !== before) return null;
      return presentToken(begun);
    });
    if (epoch !== begun || !answer) {
      // A sign-out or sign-in came between: what was asked for before it is void.
      if (token) return token.access;
      throw signedOut(state.reason ?? "signed_out");
    }
    await acceptTokens(answer, "token-refreshed");
    return answer.access_token;
  }

  /** Presents the refresh token; once more when the answer was lost, which the service knows for what it is. */
  async function presentToken(begun: number): Promise<TokenResponse | null> {
    for (let tries = 0; ; tries += 1) {
      const refresh_token = byCookie ? null : await store.get(REFRESH);
      if (!byCookie && !refresh_token) {
        if (epoch === begun) await clearSession(state.status === "signed-in" ? "token_invalid" : null);
        throw signedOut("signed_out");
      }
      try {
        return await callService<TokenResponse>("POST", "/auth/refresh", null, {
          body: byCookie ? {} : { refresh_token },
        });
      } catch (error) {
        if (epoch !== begun || disposed) return null;
        if (!isAuthError(error)) throw error;
        const refused = error.status === 401 || error.status === 403;
        // Another tab has stored a newer one while this one was on its way.
        if (refused && tries < 2 && !byCookie && (await store.get(REFRESH)) !== refresh_token) continue;
        if (refused)
          await clearSession(error.code === "missing_token" ? (state.user ? "session_expired" : null) : error.code);
        if (!refused && error.status === null && error.kind !== "offline" && tries === 0) continue;
        if (!refused && error.status !== null && state.status === "loading" && error.kind === "failed")
          await clearSession(error.code);
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
    // A process that has nothing else to do may end: a page rendered on a server is not kept waiting.
    (retryTimer as { unref?: () => void }).unref?.();
  }

  function retryNow() {
    clearTimeout(retryTimer);
    retryTimer = undefined;
    if (disposed) return;
    if (hasPendingLogout()) void sendLogout();
    else if (state.status === "loading") void refresh().catch(() => {});
    else if (state.status === "signed-in") void client.me().catch(() => {});
    else void callService("GET", "/healthz", null).catch(() => {});
  }

  // --- signing out while the service is away -------------------------------------------------------------------------

  let pendingLogout: { refresh_token: string | null; access: string | null } | null = null;

  const hasPendingLogout = () => pendingLogout !== null || attempt(() => localStore()?.getItem(PENDING_LOGOUT)) === "1";

  /** Survives a reload of the page, where the browser keeps it. */
  function markPendingLogout(isPending: boolean) {
    attempt(() => (isPending ? localStore()?.setItem(PENDING_LOGOUT, "1") : localStore()?.removeItem(PENDING_LOGOUT)));
  }

  /** Revokes the session. Without an answer it is tried again, also after a reload. */
  async function sendLogout(): Promise<void> {
    const known = pendingLogout;
    try {
      const body = known?.refresh_token ? { refresh_token: known.refresh_token } : {};
      await callService("POST", "/auth/logout", known?.access ?? null, { body });
    } catch (error) {
      // Refused: there is nothing to end. Anything else is tried again.
      if (!isAuthError(error) || error.status === null || error.status >= 500 || error.status === 429)
        return retryLater();
    }
    if (pendingLogout === known) {
      pendingLogout = null;
      markPendingLogout(false);
    }
  }

  /** Tokens of the same session that say more than those before. What was asked for with these is void. */
  async function acceptStronger(answer: TokenResponse): Promise<User> {
    epoch += 1;
    await acceptTokens(answer, "token-refreshed");
    return answer.user;
  }

  async function signIn(path: string, body: object): Promise<TokenResponse | undefined> {
    // The session would be lost with the page, and the next one would only ask for the sign-in again.
    if (byCookie && page && !attempt(keepsCookies)) throw new AuthError({ kind: "failed", code: "cookies_blocked" });
    if (hasPendingLogout()) await sendLogout();
    const answer = await callService<TokenResponse>("POST", path, null, { body });
    if (!answer?.access_token) return undefined;
    epoch += 1;
    pendingLogout = null;
    markPendingLogout(false);
    await acceptTokens(answer, "signed-in");
    return answer;
  }

  async function signInTo(path: string, body: object): Promise<User> {
    const answer = await signIn(path, body);
    if (!answer) throw new AuthError({ kind: "failed", code: "no_tokens" });
    return answer.user;
  }

  /** Loaded by those who use it. */
  const passkeys = async () =>
    (await import("./passkeys")).createPasskeys({
      request,
      requestOnce,
      callService,
      accept: acceptStronger,
      signIn: (body) => signInTo("/auth/login/passkey", { ...body, transport }),
      me: () => client.me(),
      fail: (code, detail = "") => new AuthError({ kind: "failed", code, detail }),
    });

  // --- the client ----------------------------------------------------------------------------------------------------

  const client: AuthClient = {
    get state() {
      return state;
    },

    ready() {
      started ??= (async () => {
        if (hasPendingLogout()) {
          await clearSession(null, false);
          await sendLogout();
        } else {
          await refresh().catch(() => {});
        }
      })();
      // The state of now, also for a caller that comes later.
      return started.then(() => state);
    },

    async register(input) {
      const answer = await signIn("/auth/register", { ...input, transport });
      return answer ? { status: "signed-in", user: answer.user } : { status: "verification-required" };
    },

    login: (input) => signInTo("/auth/login", { ...input, transport }),

    // In the transport that the sign-in was begun with.
    mfa: (input) => signInTo("/auth/login/mfa", input),

    mailCode: {
      request: (email) => callService("POST", "/auth/login/code", null, { body: { email, transport } }),
      async verify(input) {
        const answer = await signIn("/auth/login/code/verify", input);
        if (!answer) throw new AuthError({ kind: "failed", code: "no_tokens" });
        return answer.user;
      },
      async requestForStepUp() {
        await requestOnce("POST", "/auth/step-up/code", { body: {} });
      },
    },

    async stepUp(input) {
      const body = "passkey" in input ? { assertion: await (await passkeys()).forStepUp() } : input;
      return acceptStronger(await requestOnce<TokenResponse>("POST", "/auth/step-up", { body }));
    },

    async logout() {
      pendingLogout = { access: token?.access ?? null, refresh_token: byCookie ? null : await store.get(REFRESH) };
      markPendingLogout(true);
      await clearSession("signed_out");
      await sendLogout();
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
      await clearSession("account_deleted");
    },

    sessions: {
      list: async () => {
        const query = { page: 1, page_size: 100 };
        const items: components["schemas"]["SessionResponse"][] = [];
        for (;;) {
          const found = await request<components["schemas"]["SessionList"]>("GET", "/auth/sessions", { query });
          items.push(...found.items);
          if (found.items.length < query.page_size) return items;
          query.page += 1;
        }
      },
      revoke: (id) => request<void>("DELETE", `/auth/sessions/${encodeURIComponent(id)}`),
      revokeOthers: async () => (await request<{ revoked: number }>("DELETE", "/auth/sessions")).revoked,
    },

    devices: {
      list: async () => (await request<components["schemas"]["DeviceList"]>("GET", "/auth/devices")).items,
      forget: (id) => request<void>("DELETE", `/auth/devices/${encodeURIComponent(id)}`),
      forgetAll: async () =>
        (await request<components["schemas"]["ForgottenResponse"]>("DELETE", "/auth/devices")).forgotten,
    },

    factors: {
      list: () => request("GET", "/auth/factors"),
      beginTotp: (input) => request("POST", "/auth/factors/totp", { body: input }),
      async confirmTotp(input) {
        const answer = await request<components["schemas"]["TotpConfirmedResponse"]>(
          "POST",
          "/auth/factors/totp/confirm",
          { body: input },
        );
        await acceptStronger(answer);
        return answer.recovery_codes ?? null;
      },
      async removeTotp() {
        await request<void>("DELETE", "/auth/factors/totp");
        await client.me();
      },
      replaceRecoveryCodes: async () =>
        (await request<components["schemas"]["RecoveryCodesResponse"]>("POST", "/auth/factors/recovery-codes"))
          .recovery_codes,
    },

    passkeys: {
      isSupported: () => typeof PublicKeyCredential !== "undefined",
      isOfferedInFields: async () => (await passkeys()).isOfferedInFields(),
      list: async () => (await passkeys()).list(),
      register: async (input) => (await passkeys()).register(input),
      rename: async (id, name) => (await passkeys()).rename(id, name),
      remove: async (id) => (await passkeys()).remove(id),
      signIn: async (options) => (await passkeys()).signIn(options),
      use: async (options, signal) => (await passkeys()).use(options, signal),
    },

    activity: (query) => request("GET", "/auth/activity", query ? { query } : {}),

    password: {
      forgot: (email) => callService<void>("POST", "/auth/password/forgot", null, { body: { email } }),
      reset: (input) => callService<void>("POST", "/auth/password/reset", null, { body: input }),
      async change(input) {
        return acceptStronger(await request<TokenResponse>("POST", "/auth/password/change", { body: input }));
      },
    },

    email: {
      verify: (input) => request<void>("POST", "/auth/email/verify", { body: input }),
      resend: (email) => request<void>("POST", "/auth/email/verify/resend", { body: email ? { email } : {} }),
      change: (input) => request<void>("POST", "/auth/email/change", { body: input }),
    },

    account: {
      undo: (input) =>
        callService<components["schemas"]["UndoneResponse"]>("POST", "/auth/account/undo", null, { body: input }),
      secure: (input) => callService<void>("POST", "/auth/account/secure", null, { body: input }),
    },

    async fetch(input, init) {
      const first = new Request(input, init);
      if (!destinations.trusts(first.url)) {
        const answer = await rawFetch(first);
        // Said on a developer's machine only.
        if (answer.status === 401 && /^(localhost|127\.|\[::1)/.test(page?.location.hostname ?? ""))
          console.warn(`josoor-auth: no token for ${new URL(first.url).origin}, which origins lack`);
        return answer;
      }
      // A stream can be sent only once.
      const again = typeof ReadableStream === "function" && init?.body instanceof ReadableStream ? null : first.clone();
      const used = await tokenIfAny();
      if (!used) return rawFetch(first);
      const response = await destinations.carry(first, used, rawFetch);
      // The end of a redirect to another origin decides nothing about this session.
      if (response.status !== 401 || !again || !destinations.trusts(response.url || first.url)) return response;
      const code = await codeOf(response.clone());
      const meaning = meaningOf(code, response.headers.get("www-authenticate"));
      if (meaning === "kept") {
        const error = await errorOf(response.clone());
        const isOld = error.kind === "step_up_required" || isStepUp(response.headers.get("www-authenticate"));
        if (!isOld || !(await verifyAgain(error))) return response;
        return destinations.carry(again, await getAccessToken(), rawFetch);
      }
      if (token && token.access !== used) return destinations.carry(again, token.access, rawFetch);
      if (meaning === "over") {
        await clearSession(code as string);
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
      notify(listener, "initial", state);
      return () => {
        listeners.delete(listener);
      };
    },

    dispose() {
      disposed = true;
      clearTimeout(retryTimer);
      listeners.clear();
      tabs.close();
      page?.removeEventListener("online", onWake);
      page?.removeEventListener("pageshow", onWake);
      page?.document.removeEventListener("visibilitychange", onWake);
    },
  };
  return client;
}
