// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import {
  type AuthClient,
  type AuthClientOptions,
  AuthError,
  type AuthEvent,
  createAuthClient,
  isAuthError,
} from "../src";
import { Service } from "./service";

let service: Service;
const clients: AuthClient[] = [];
let channels = 0;

/** A tab of its own: same storage, same channel as the others of this test. */
function tab(options: AuthClientOptions = {}): AuthClient {
  const client = createAuthClient({
    baseUrl: service.url,
    storage: "localStorage",
    fetch: realFetch,
    channel: `test-${channels}`,
    ...options,
  });
  clients.push(client);
  return client;
}

const realFetch = globalThis.fetch;
const credentials = { email: "user@example.com", password: "right" };

beforeEach(async () => {
  channels += 1;
  localStorage.clear();
  service = await new Service().start();
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.dispose();
  vi.restoreAllMocks();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  await service.stop();
});

async function signedIn(options: AuthClientOptions = {}) {
  const client = tab(options);
  await client.login(credentials);
  return client;
}

describe("refresh", () => {
  it("is made once for twenty requests with an expired token", async () => {
    const client = await signedIn();
    service.expireAll();
    const users = await Promise.all(Array.from({ length: 20 }, () => client.me()));
    expect(users).toHaveLength(20);
    expect(service.count("/auth/refresh")).toBe(1);
    expect(client.state.status).toBe("signed-in");
  });

  it("is made once for twenty fetches of another API, which get their answers", async () => {
    const client = await signedIn();
    service.expireAll();
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, number) =>
        client.fetch(`${service.url}/chat`, { method: "POST", body: JSON.stringify({ number }) }),
      ),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
    const bodies = (await Promise.all(answers.map((answer) => answer.json()))) as { echo: { number: number } }[];
    expect(bodies.map(({ echo }) => echo.number)).toEqual(Array.from({ length: 20 }, (_, number) => number));
    expect(service.count("/auth/refresh")).toBe(1);
  });

  it("goes on after a lost answer", async () => {
    const client = await signedIn();
    service.lose["/auth/refresh"] = 1;
    await expect(client.refresh()).resolves.toMatch(/^access-/);
    expect(service.count("/auth/refresh")).toBe(2);
    expect(client.state.status).toBe("signed-in");
  });

  it.each([-10, 10])("does not care for a clock that is %i minutes off", async (minutes) => {
    const real = Date.now;
    vi.spyOn(Date, "now").mockImplementation(() => real() + minutes * 60_000);
    service.lifetime = 300;
    const client = await signedIn();
    await client.me();
    await client.me();
    expect(service.count("/auth/refresh")).toBe(0);
  });

  it("is made before the next request after the machine slept", async () => {
    service.lifetime = 600;
    const client = await signedIn();
    await client.getAccessToken();
    expect(service.count("/auth/refresh")).toBe(0);
    // Asleep for an hour: timers and performance.now stood still.
    const real = Date.now;
    vi.spyOn(Date, "now").mockImplementation(() => real() + 3_600_000);
    await client.me();
    expect(service.count("/auth/refresh")).toBe(1);
    expect(service.count("/auth/me")).toBe(1);
  });

  it("of two tabs at once keeps both signed in", async () => {
    const first = await signedIn();
    const second = tab();
    await second.ready();
    service.expireAll();
    for (let round = 0; round < 5; round += 1) await Promise.all([first.refresh(), second.refresh()]);
    await Promise.all([first.me(), second.me()]);
    expect([first.state.status, second.state.status]).toEqual(["signed-in", "signed-in"]);
  });

  it("waits at most two seconds for a lock that is never given", async () => {
    const client = await signedIn();
    vi.stubGlobal("navigator", {
      onLine: true,
      locks: {
        request: (_: string, { signal }: { signal: AbortSignal }) =>
          new Promise((_, fail) => signal.addEventListener("abort", () => fail(signal.reason))),
      },
    });
    const start = performance.now();
    await client.refresh();
    expect(performance.now() - start).toBeGreaterThan(1500);
    expect(performance.now() - start).toBeLessThan(4000);
  });

  it("uses what another tab got while it waited its turn", async () => {
    const first = await signedIn();
    const second = tab();
    await second.ready();
    const before = service.count("/auth/refresh");
    let release: () => void = () => {};
    const turn = new Promise<void>((done) => {
      release = done;
    });
    vi.stubGlobal("navigator", {
      onLine: true,
      locks: { request: async (_: string, __: object, work: () => Promise<unknown>) => turn.then(work) },
    });
    const waiting = second.refresh();
    vi.unstubAllGlobals();
    const fresh = await first.refresh();
    await vi.waitFor(async () => expect(await second.getAccessToken()).toBe(fresh));
    release();
    await expect(waiting).resolves.toBe(fresh);
    expect(service.count("/auth/refresh")).toBe(before + 1);
  });

  it("that ends after a sign-out is thrown away", async () => {
    const client = await signedIn();
    service.delay["/auth/refresh"] = 200;
    const refreshing = client.refresh();
    await client.logout();
    await expect(refreshing).rejects.toMatchObject({ kind: "signed_out" });
    expect(client.state).toMatchObject({ status: "signed-out", user: null });
    expect(localStorage.getItem("josoor_access_token")).toBeNull();
  });

  it.each(["session_revoked", "password_changed", "account_inactive", "session_expired"])(
    "refused with %s signs out and says why",
    async (code) => {
      const client = await signedIn();
      service.revoke(code);
      await expect(client.refresh()).rejects.toMatchObject({ code });
      expect(client.state).toMatchObject({ status: "signed-out", reason: code });
    },
  );
});

describe("a service that is away", () => {
  it("signs out no user, and is found again when it is back", async () => {
    const client = await signedIn();
    const port = Number(new URL(service.url).port);
    await service.stop();
    await expect(client.me()).rejects.toMatchObject({ kind: "server_unavailable" });
    await expect(client.refresh()).rejects.toMatchObject({ kind: "server_unavailable" });
    expect(client.state).toMatchObject({ status: "signed-in", connectivity: "unavailable" });
    await service.start(port);
    // By itself, after a second or so.
    await vi.waitFor(() => expect(client.state.connectivity).toBe("online"), { timeout: 10_000 });
    await expect(client.me()).resolves.toMatchObject({ email: "user@example.com" });
  });

  it.each([500, 502, 503, 429])("in the form of a %i signs out no user either", async (status) => {
    const client = await signedIn();
    service.instead["/auth/refresh"] = [
      { status, body: {} },
      { status, body: {} },
    ];
    await expect(client.refresh()).rejects.toBeInstanceOf(AuthError);
    expect(client.state.status).toBe("signed-in");
  });

  it("at the start leaves it open who is there, and goes on by itself", async () => {
    await signedIn();
    service.instead["/auth/refresh"] = [{ status: 503, body: {} }];
    const second = tab({ channel: "alone" });
    await second.ready();
    expect(second.state).toMatchObject({ status: "loading", connectivity: "unavailable" });
    await vi.waitFor(() => expect(second.state.status).toBe("signed-in"), { timeout: 10_000 });
  });

  it("is distinguished from a device without a network", async () => {
    const client = await signedIn();
    await service.stop();
    vi.spyOn(navigator, "onLine", "get").mockReturnValue(false);
    await expect(client.me()).rejects.toMatchObject({ kind: "offline", code: "offline" });
    expect(client.state).toMatchObject({ status: "signed-in", connectivity: "offline" });
    await service.start();
  });

  it("that takes too long is given up, and the user stays signed in", async () => {
    const client = await signedIn({ timeout: 100 });
    service.delay["/auth/me"] = 1000;
    await expect(client.me()).rejects.toMatchObject({ kind: "server_unavailable", code: "timeout" });
    expect(client.state.status).toBe("signed-in");
  });

  it("gets the sign-out when it is back", async () => {
    const client = await signedIn();
    service.lose["/auth/logout"] = 1;
    await client.logout();
    expect(client.state).toMatchObject({ status: "signed-out", reason: "signed_out" });
    await vi.waitFor(() => expect(service.count("/auth/logout")).toBe(2), { timeout: 10_000 });
    await vi.waitFor(() => expect(localStorage.getItem("josoor_auth_leaving")).toBeNull());
  });
});

describe("tabs", () => {
  it("drop a pending sign-out once a user signs in", async () => {
    const first = await signedIn();
    service.lose["/auth/logout"] = 1;
    await first.logout();
    const second = await signedIn();
    await vi.waitFor(() => expect(first.state.status).toBe("signed-in"));
    // Longer than the first one's next try would take.
    await new Promise((done) => setTimeout(done, 1500));
    expect(service.count("/auth/logout")).toBe(2);
    await expect(second.me()).resolves.toMatchObject({ id: 1 });
  });

  it("follow a sign-out", async () => {
    const first = await signedIn();
    const second = tab();
    await second.ready();
    const events: AuthEvent[] = [];
    second.onAuthStateChange((event) => events.push(event));
    await first.logout();
    await vi.waitFor(() =>
      expect(second.state).toMatchObject({ status: "signed-out", reason: "signed_out_elsewhere" }),
    );
    expect(events).toContain("signed-out");
  });

  it("follow a sign-in, also of another user", async () => {
    const second = tab();
    await second.ready();
    expect(second.state.status).toBe("signed-out");
    await signedIn();
    await vi.waitFor(() => expect(second.state).toMatchObject({ status: "signed-in", user: { id: 1 } }));
  });

  it("follow by the storage event where there is no BroadcastChannel, without a token in it", async () => {
    vi.stubGlobal("BroadcastChannel", undefined);
    const first = await signedIn();
    const second = tab();
    await second.ready();
    const written = vi.spyOn(Storage.prototype, "setItem");
    await first.logout();
    const message = written.mock.calls.find(([key]) => key === "josoor_auth_event")?.[1] ?? "";
    expect(message).not.toContain("access-");
    window.dispatchEvent(new StorageEvent("storage", { key: "josoor_auth_event", newValue: message }));
    expect(second.state).toMatchObject({ status: "signed-out", reason: "signed_out_elsewhere" });
  });
});

describe("storage", () => {
  it("in localStorage has the names of the platform's document", async () => {
    await signedIn();
    expect(localStorage.getItem("josoor_access_token")).toMatch(/^access-/);
    expect(JSON.parse(localStorage.getItem("josoor_user") ?? "")).toMatchObject({ email: "user@example.com" });
  });

  it("that is full keeps the user signed in", async () => {
    vi.spyOn(Storage.prototype, "setItem").mockImplementation(() => {
      throw new DOMException("full", "QuotaExceededError");
    });
    const client = await signedIn();
    await client.refresh();
    await expect(client.me()).resolves.toMatchObject({ id: 1 });
  });

  it("that is forbidden does so as well", async () => {
    vi.spyOn(window, "localStorage", "get").mockImplementation(() => {
      throw new DOMException("forbidden", "SecurityError");
    });
    const client = await signedIn();
    await client.refresh();
    await client.logout();
    expect(client.state.status).toBe("signed-out");
  });

  it("of cookies never shows a refresh token to scripts", async () => {
    const sent: RequestInit[] = [];
    const client = tab({
      storage: "cookie",
      fetch: (input, init) => {
        sent.push(init ?? {});
        return realFetch(input, init);
      },
    });
    await client.login(credentials);
    expect(JSON.parse(String(sent[0]?.body))).toMatchObject({ transport: "cookie" });
    expect(sent.every(({ credentials: mode }) => mode === "include")).toBe(true);
    expect(Object.keys(localStorage)).toEqual([]);
    // No cookie came back here, so the service refuses: that is a sign-out, not a failure.
    await client.refresh().catch(() => {});
    expect(JSON.parse(String(sent[1]?.body))).toEqual({});
    expect(client.state.status).toBe("signed-out");
  });

  it("of one's own may be asynchronous", async () => {
    const kept = new Map<string, string>();
    const wait = () => new Promise((done) => setTimeout(done, 1));
    const storage = {
      get: async (key: string) => wait().then(() => kept.get(key) ?? null),
      set: async (key: string, value: string) => wait().then(() => void kept.set(key, value)),
      remove: async (key: string) => wait().then(() => void kept.delete(key)),
    };
    await signedIn({ storage });
    const second = tab({ storage, channel: "alone" });
    expect((await second.ready()).status).toBe("signed-in");
    await second.logout();
    expect(kept.size).toBe(0);
  });
});

it("ready gives the state of now, also later", async () => {
  const client = tab();
  expect((await client.ready()).status).toBe("signed-out");
  await client.login(credentials);
  expect((await client.ready()).status).toBe("signed-in");
  expect(service.count("/auth/refresh")).toBe(0);
});

describe("errors", () => {
  it("of a wrong password do not sign the user out", async () => {
    const client = await signedIn();
    await expect(client.password.change({ current_password: "wrong", new_password: "x" })).rejects.toMatchObject({
      kind: "invalid_credentials",
    });
    expect(client.state.status).toBe("signed-in");
    await expect(tab().login({ email: "user@example.com", password: "wrong" })).rejects.toSatisfy((error) =>
      isAuthError(error, "invalid_credentials"),
    );
  });

  it.each([
    ["7", {}, 7],
    ["Tue, 24 Nov 2026 10:00:30 GMT", { date: "Tue, 24 Nov 2026 10:00:00 GMT" }, 30],
    ["soon", {}, null],
  ])("of a limit say how long to wait: %s", async (value, headers, seconds) => {
    const client = tab();
    service.instead["/auth/login"] = [
      { status: 429, body: { code: "rate_limited" }, headers: { "retry-after": value, ...headers } },
    ];
    await expect(client.login(credentials)).rejects.toMatchObject({ kind: "rate_limited", retryAfter: seconds });
  });

  it("of fields name them", async () => {
    const client = tab();
    const errors = [{ field: "email", code: "invalid_email", message: "no" }];
    service.instead["/auth/login"] = [
      {
        status: 422,
        body: { code: "validation_failed", errors, request_id: "r-9", type: "https://x/errors/validation_failed" },
      },
    ];
    await expect(client.login(credentials)).rejects.toMatchObject({
      kind: "validation",
      errors,
      requestId: "r-9",
      docs: "https://x/errors/validation_failed",
    });
  });

  it("say how a sign-in with a second factor goes on", async () => {
    const client = tab();
    const waits = {
      code: "mfa_required",
      detail: "A code is needed.",
      flow: "flow-1",
      methods: ["totp"],
      expires_in: 600,
    };
    service.instead["/auth/login"] = [{ status: 403, body: waits }];
    const error = await client.login(credentials).catch((error) => error as AuthError);
    expect(error).toMatchObject({ kind: "mfa_required", mfa: { flow: "flow-1", methods: ["totp"], expiresIn: 600 } });
    expect(client.state.status).not.toBe("signed-in");
    const code = { flow: "flow-1", method: "totp" as const, code: "000000" };
    await expect(client.mfa(code)).rejects.toMatchObject({ code: "mfa_code_invalid", kind: "failed" });
    await expect(client.mfa({ ...code, flow: "flow-2" })).rejects.toMatchObject({ code: "flow_expired" });
    await expect(client.mfa({ ...code, code: "123456" })).resolves.toMatchObject({ id: 1 });
    expect(client.state.status).toBe("signed-in");
    expect(service.count("/auth/refresh")).toBe(0);
  });

  it("sign in with a code by mail", async () => {
    const client = tab();
    const { flow } = await client.mailCode.request("user@example.com");
    expect(client.state.status).not.toBe("signed-in");
    await expect(client.mailCode.verify({ flow, code: "00000000" })).rejects.toMatchObject({
      code: "mail_code_invalid",
      kind: "failed",
    });
    await expect(client.mailCode.verify({ flow, code: "12345678" })).resolves.toMatchObject({ id: 1 });
    expect(client.state.status).toBe("signed-in");
    expect(service.count("/auth/refresh")).toBe(0);
  });

  it("that ask for a fresh verification are sent once more after it, with the new token", async () => {
    const body = { code: "step_up_required" };
    const headers = { "www-authenticate": 'Bearer error="insufficient_user_authentication", max_age="600"' };
    const asked: string[] = [];
    const client: AuthClient = await signedIn({
      onStepUpRequired: async (error) => {
        asked.push(error.code);
        await client.stepUp({ code: "123456" });
        return true;
      },
    });
    const before = await client.getAccessToken();
    service.instead["/auth/sessions"] = [1, 2].map(() => ({ status: 401, body, headers }));
    await Promise.all([client.sessions.revokeOthers(), client.sessions.revokeOthers()]);
    expect(asked).toEqual(["step_up_required"]);
    expect(service.count("/auth/sessions")).toBe(4);
    expect(await client.getAccessToken()).not.toBe(before);
    expect(service.headers[service.headers.length - 1]?.authorization).toBe(`Bearer ${await client.getAccessToken()}`);
    expect(service.count("/auth/refresh")).toBe(0);
    // Refused again, it is the caller's matter; and so it is when the user says no.
    service.instead["/auth/sessions"] = [1, 2].map(() => ({ status: 401, body, headers }));
    await expect(client.sessions.revokeOthers()).rejects.toMatchObject({ kind: "step_up_required" });
    const other = await signedIn({ onStepUpRequired: async () => false });
    service.instead["/auth/sessions"] = [{ status: 401, body, headers }];
    await expect(other.sessions.revokeOthers()).rejects.toMatchObject({ kind: "step_up_required" });
    // Requests to an API of one's own, too.
    service.instead["/chat"] = [{ status: 401, body: undefined, headers }];
    expect((await client.fetch(`${service.url}/chat`)).status).toBe(200);
    expect(asked).toHaveLength(3);
    // A wrong code ends nothing.
    await expect(other.stepUp({ code: "000000" })).rejects.toMatchObject({ code: "mfa_code_invalid" });
    expect(other.state.status).toBe("signed-in");
  });

  it("that ask for a fresh verification keep the session, and make no refresh", async () => {
    const client = await signedIn();
    const body = { code: "step_up_required" };
    const headers = { "www-authenticate": 'Bearer error="insufficient_user_authentication", max_age="600"' };
    service.instead["/auth/sessions"] = [{ status: 401, body, headers }];
    await expect(client.sessions.revokeOthers()).rejects.toMatchObject({ kind: "step_up_required", status: 401 });
    service.instead["/chat"] = [
      { status: 401, body, headers },
      // An API that sends no problem document, but the challenge of RFC 9470.
      { status: 401, body: undefined, headers },
    ];
    expect((await client.fetch(`${service.url}/chat`)).status).toBe(401);
    expect((await client.fetch(`${service.url}/chat`)).status).toBe(401);
    expect(service.count("/chat")).toBe(2);
    expect(service.count("/auth/refresh")).toBe(0);
    expect(client.state.status).toBe("signed-in");
  });

  it.each(["refresh_token_required", "password_changed", "session_revoked"])("end the session: %s", async (code) => {
    const first = await signedIn();
    service.instead["/auth/me"] = [{ status: 401, body: { code } }];
    await expect(first.me()).rejects.toMatchObject({ kind: "signed_out", code });
    expect(first.state).toMatchObject({ status: "signed-out", reason: code });
    const second = await signedIn();
    service.instead["/auth/refresh"] = [{ status: 401, body: { code } }];
    await expect(second.refresh()).rejects.toMatchObject({ kind: "signed_out", code });
    expect(second.state).toMatchObject({ status: "signed-out", reason: code });
    const third = await signedIn();
    service.instead["/chat"] = [{ status: 401, body: { code } }];
    await third.fetch(`${service.url}/chat`);
    expect(third.state).toMatchObject({ status: "signed-out", reason: code });
    expect(service.count("/auth/refresh")).toBe(1);
  });

  it("of a sign-in that is refused for the moment are distinguished", async () => {
    const client = tab();
    for (const [status, code, kind] of [
      [409, "session_limit", "failed"],
      [403, "email_not_verified", "forbidden"],
    ] as const) {
      service.instead["/auth/login"] = [{ status, body: { code } }];
      await expect(client.login(credentials)).rejects.toMatchObject({ status, code, kind });
    }
  });

  it("of a proxy, which are no problem documents, are understood", async () => {
    const client = tab();
    service.instead["/auth/login"] = [{ status: 502, body: undefined }];
    await expect(client.login(credentials)).rejects.toMatchObject({
      kind: "server_unavailable",
      code: "server_unavailable",
      status: 502,
    });
  });

  it("are known across copies of the package by their brand", () => {
    expect(isAuthError({ brand: "josoor-auth-error", code: "x" }, "x")).toBe(true);
    expect(isAuthError(new Error("x"))).toBe(false);
    expect(isAuthError(null)).toBe(false);
  });
});

describe("listeners", () => {
  it("may call the client and throw, and stop no other", async () => {
    const thrown: unknown[] = [];
    const onError = (event: ErrorEvent) => {
      event.preventDefault();
      thrown.push(event.error);
    };
    const caught = (error: unknown) => thrown.push(error);
    window.addEventListener("error", onError);
    process.on("uncaughtException", caught);
    const client = tab();
    const users: unknown[] = [];
    client.onAuthStateChange(() => {
      throw new Error("a listener's own fault");
    });
    client.onAuthStateChange(async (event) => {
      if (event === "signed-in") users.push(await client.me());
    });
    await client.login(credentials);
    await vi.waitFor(() => expect(users).toHaveLength(1));
    await new Promise((done) => setTimeout(done, 20));
    process.off("uncaughtException", caught);
    window.removeEventListener("error", onError);
    expect(thrown.length).toBeGreaterThan(0);
    expect(client.state.status).toBe("signed-in");
  });

  it("are not called after they were removed", async () => {
    const client = tab();
    const events: AuthEvent[] = [];
    const off = client.onAuthStateChange((event) => events.push(event));
    off();
    await client.login(credentials);
    await new Promise((done) => setTimeout(done, 5));
    expect(events).toEqual([]);
  });
});

describe("fetch", () => {
  it("sends the token to the service and to origins of one's own choice, and nowhere else", async () => {
    const other = await new Service().start();
    const client = await signedIn();
    await client.fetch(`${other.url}/chat`);
    expect(other.headers[0]?.authorization).toBeUndefined();
    const trusting = await signedIn({ origins: [other.url] });
    await trusting.fetch(`${other.url}/chat`);
    expect(other.headers[1]?.authorization).toMatch(/^Bearer access-/);
    await other.stop();
  });

  it("answers the API's own 401 once the session is over, and signs out", async () => {
    const client = await signedIn();
    service.revoke("session_revoked");
    const answer = await client.fetch(`${service.url}/chat`);
    expect(answer.status).toBe(401);
    expect(client.state).toMatchObject({ status: "signed-out", reason: "session_revoked" });
  });

  it("without a session asks without a token", async () => {
    const client = tab();
    await client.ready();
    expect((await client.fetch(`${service.url}/chat`)).status).toBe(403);
  });
});
