// @vitest-environment jsdom
import { readFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import axios, {
  type AxiosAdapter,
  type AxiosHeaders,
  type AxiosInstance,
  type InternalAxiosRequestConfig,
} from "axios";
import { createElement } from "react";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import * as core from "../src";
import * as axiosEntry from "../src/axios";
import * as reactEntry from "../src/react";
import { oldFetch, Recorder } from "./recorder";
import { Service } from "./service";

// The token goes to the service, to this page's origin and to `origins`, and nowhere else.

const PAGE = location.origin;
const REDIRECTS = [301, 302, 303, 307, 308];
let service: Service;
let friend: Recorder;
let evil: Recorder;
let client: core.AuthClient;
let runs = 0;

function make(options: core.AuthClientOptions = {}): core.AuthClient {
  runs += 1;
  return core.createAuthClient({
    baseUrl: service.url,
    storage: "memory",
    channel: `a6-${runs}`,
    origins: [friend.url],
    fetch: oldFetch,
    ...options,
  });
}

beforeEach(async () => {
  [service, friend, evil] = await Promise.all([new Service().start(), new Recorder().start(), new Recorder().start()]);
  client = make();
  await client.login({ email: "user@example.com", password: "right" });
});

afterEach(async () => {
  vi.unstubAllGlobals();
  document.head.querySelector("base")?.remove();
  client.dispose();
  await Promise.all([service.stop(), friend.stop(), evil.stop()]);
});

const hostOf = (url: string) => new URL(url).host;

/** Addresses that are not the service's, however they are written. */
const elsewhere = (): string[] => [
  `${evil.url}/x`,
  `${evil.url}`.toUpperCase(),
  `//${hostOf(evil.url)}/x`,
  `\\\\${hostOf(evil.url)}/x`,
  `/\\${hostOf(evil.url)}/x`,
  `/\t/${hostOf(evil.url)}/x`,
  `\n//${hostOf(evil.url)}/x`,
  `http:${evil.url.slice(5).replaceAll("/", "\\")}\\x`,
  `http:////${hostOf(evil.url)}/x`,
  `http://${hostOf(service.url)}@${hostOf(evil.url)}/x`,
  `http://${hostOf(service.url)}\\@${hostOf(evil.url)}/x`.replace("\\", "%5c"),
  `${evil.url}/#${service.url}`,
  `${evil.url}?${service.url}`,
  service.url.replace("127.0.0.1", "localhost"),
  service.url.replace("http:", "https:"),
  service.url.replace("http:", "ws:"),
  service.url.replace("http:", "ftp:"),
  service.url.replace("//", "//user:word@"),
  `${service.url}.evil.example/`,
  `${service.url}@${hostOf(evil.url)}/x`,
  `data:text/plain,x`,
  `blob:${service.url}/3c1b8e0a-0000-4000-8000-000000000000`,
  `blob:${PAGE}/3c1b8e0a-0000-4000-8000-000000000000`,
  `javascript:0`,
  `file:///etc/hostname`,
  `about:blank`,
  `http://`,
  `http://[`,
];

describe("a6: what is exported", () => {
  /** Every export, and what it can send where. What is new here needs a case of its own below. */
  const EXPORTS: Record<
    string,
    Record<string, "sends nothing" | "is a client" | "hands out the client" | "by the client" | "adapter">
  > = {
    ".": {
      AuthError: "sends nothing",
      isAuthError: "sends nothing",
      safeReturnTo: "sends nothing",
      hasRole: "sends nothing",
      ROLES: "sends nothing",
      createAuthClient: "is a client",
    },
    "./react.css": {},
    "./react": {
      AuthProvider: "hands out the client",
      useAuth: "hands out the client",
      useUser: "hands out the client",
      Show: "sends nothing",
      ProtectedRoute: "sends nothing",
      useReturnTo: "sends nothing",
      TextsProvider: "sends nothing",
      initialsOf: "sends nothing",
      toneOf: "sends nothing",
      LoginForm: "by the client",
      RegisterForm: "by the client",
      SessionsList: "by the client",
      UserButton: "by the client",
      useSubmission: "sends nothing",
    },
    "./axios": { attachAuth: "adapter" },
  };

  it("is listed, entry by entry", () => {
    const manifest = JSON.parse(readFileSync(resolve(import.meta.dirname, "../package.json"), "utf8"));
    const entries = Object.keys(manifest.exports).filter((name) => name !== "./package.json");
    expect(entries.sort()).toEqual(Object.keys(EXPORTS).sort());
    for (const [name, entry] of Object.entries({ ".": core, "./react": reactEntry, "./axios": axiosEntry }))
      expect(Object.keys(entry).sort(), name).toEqual(Object.keys(EXPORTS[name] ?? {}).sort());
  });

  it("gives components the client's own functions and no others", () => {
    let seen: Record<string, unknown> = {};
    const Read = () => {
      seen = { ...reactEntry.useAuth() };
      return null;
    };
    renderToString(createElement(reactEntry.AuthProvider, { client }, createElement(Read)));
    const functions = Object.keys(seen).filter((key) => typeof seen[key] === "function");
    expect(functions.sort()).toEqual(["hasRole", "login", "logout", "register"]);
    for (const key of ["login", "logout", "register"] as const) expect(seen[key]).toBe(client[key]);
    expect(seen.client).toBe(client);
  });
});

/** Every method of a client that asks the service, by its name. */
const TO_SERVICE: Record<string, (client: core.AuthClient) => Promise<unknown>> = {
  ready: (one) => one.ready(),
  register: (one) => one.register({ email: "secret-a@example.com", password: "secret-word" }),
  login: (one) => one.login({ email: "user@example.com", password: "secret-word" }),
  mfa: (one) => one.mfa({ flow: "secret-flow", method: "totp", code: "secret-code" }),
  "mailCode.request": (one) => one.mailCode.request("secret-a@example.com"),
  "mailCode.verify": (one) => one.mailCode.verify({ flow: "secret-flow", code: "secret-code" }),
  "mailCode.requestForStepUp": (one) => one.mailCode.requestForStepUp(),
  stepUp: (one) => one.stepUp({ code: "secret-code" }),
  logout: (one) => one.logout(),
  refresh: (one) => one.refresh(),
  getAccessToken: (one) => one.getAccessToken({ minValidity: 1e9 }).then(() => one.refresh()),
  me: (one) => one.me(),
  updateMe: (one) => one.updateMe({ full_name: "secret-name" }),
  deleteAccount: (one) => one.deleteAccount({ password: "secret-word" }),
  "sessions.list": (one) => one.sessions.list(),
  "sessions.revoke": (one) => one.sessions.revoke("x"),
  "sessions.revokeOthers": (one) => one.sessions.revokeOthers(),
  activity: (one) => one.activity({ page: 1 }),
  "password.forgot": (one) => one.password.forgot("secret-a@example.com"),
  "password.reset": (one) => one.password.reset({ token: "secret-token", new_password: "secret-word" }),
  "password.change": (one) => one.password.change({ current_password: "secret-word", new_password: "secret-next" }),
  "devices.list": (one) => one.devices.list(),
  "devices.forget": (one) => one.devices.forget("x"),
  "devices.forgetAll": (one) => one.devices.forgetAll(),
  "factors.list": (one) => one.factors.list(),
  "factors.beginTotp": (one) => one.factors.beginTotp({ password: "secret-word" }),
  "factors.confirmTotp": (one) => one.factors.confirmTotp({ code: "secret-code" }),
  "factors.removeTotp": (one) => one.factors.removeTotp(),
  "factors.replaceRecoveryCodes": (one) => one.factors.replaceRecoveryCodes(),
  "passkeys.list": (one) => one.passkeys.list(),
  "passkeys.register": (one) => one.passkeys.register({ password: "secret-word" }),
  "passkeys.rename": (one) => one.passkeys.rename("x", "secret-name"),
  "passkeys.remove": (one) => one.passkeys.remove("x"),
  "passkeys.signIn": (one) => one.passkeys.signIn(),
  "account.undo": (one) => one.account.undo({ token: "secret-token" }),
  "account.secure": (one) => one.account.secure({ token: "secret-token", email: "secret-a@example.com" }),
  "email.verify": (one) => one.email.verify({ token: "secret-token" }),
  "email.resend": (one) => one.email.resend(),
  "email.change": (one) => one.email.change({ new_email: "secret-b@example.com", password: "secret-word" }),
  request: (one) => one.request("POST", "/auth/anything", { body: { text: "secret-text" } }),
};
/** The others: `fetch` and `isTrusted` take any address, the rest sends nothing. */
const OTHERS = [
  "fetch",
  "isTrusted",
  "onAuthStateChange",
  "dispose",
  "passkeys.isSupported",
  "passkeys.isOfferedInFields",
  "passkeys.use",
];

function functionsOf(value: object, prefix = ""): string[] {
  return Object.entries(Object.getOwnPropertyDescriptors(value)).flatMap(([key, { value: member }]) => {
    if (typeof member === "function") return [prefix + key];
    return member && typeof member === "object" ? functionsOf(member, `${prefix}${key}.`) : [];
  });
}

describe("a6: methods that ask the service", () => {
  it("are all listed here", () => {
    expect(functionsOf(client).sort()).toEqual([...Object.keys(TO_SERVICE), ...OTHERS].sort());
  });

  it.each(Object.keys(TO_SERVICE))("%s follows no redirect, with a token or a password or without", async (name) => {
    for (const status of REDIRECTS) {
      const one = make();
      service.everywhere = null;
      await one.login({ email: "user@example.com", password: "right" });
      service.everywhere = { status, headers: { location: `${evil.url}/taken` } };
      const before = one.state.status;
      await TO_SERVICE[name]?.(one).catch((error) => {
        expect(core.isAuthError(error), String(error)).toBe(true);
        expect(error).toMatchObject({ kind: "server_unavailable", code: "redirect_refused" });
      });
      // Nothing that stands between here and the service signs anybody out.
      if (name !== "logout") expect(one.state.status).toBe(before);
      one.dispose();
    }
    expect(evil.received).toEqual([]);
  });

  it("request takes only paths of the service", async () => {
    const below = make({ baseUrl: `${service.url}/identity/` });
    await client.getAccessToken();
    const asked = () => Object.values(service.asked).reduce((sum, count) => sum + count, 0);
    const before = asked();
    for (const one of [client, below]) {
      for (const path of [
        ...elsewhere(),
        "",
        "auth/me",
        "@evil.example/",
        ".evil.example/",
        ":80/",
        "?x",
        "#x",
        "//auth/me",
        "/\\auth/me",
        "/\t/auth/me",
        "\t/auth/me",
        "/.//auth/me",
        "/../..//auth/me",
        "/%2e%2e//auth/me",
      ])
        await expect(one.request("GET", path), JSON.stringify(path)).rejects.toMatchObject({
          code: "destination_refused",
          kind: "failed",
        });
    }
    for (const path of ["/../chat", "/%2e%2e/chat", "/..\\chat", "/x/../../chat"])
      await expect(below.request("GET", path), path).rejects.toMatchObject({ code: "destination_refused" });
    expect(asked()).toBe(before);
    expect(evil.received).toEqual([]);
    await expect(client.request("GET", "/chat?a=1#part", { query: { b: "2" } })).resolves.toBeDefined();
    below.dispose();
  });
});

describe("a6: where the service is", () => {
  it.each(["data:,x", "javascript:0", "ftp://auth.example", "https://user:word@auth.example", "https://", "auth:8000"])(
    "is no address like %s",
    (baseUrl) => {
      expect(() => core.createAuthClient({ baseUrl })).toThrow(TypeError);
    },
  );

  it.each(["*", "null", "localhost:3000", "api.example.org", "data:,x", "//api.example.org", ""])(
    "no further origin is called %j",
    (origin) => {
      expect(() => core.createAuthClient({ origins: [origin] })).toThrow(TypeError);
    },
  );

  it("does not follow a <base> that was put into the page", async () => {
    const asked: string[] = [];
    const fake: typeof fetch = async (input) => {
      asked.push(String(input));
      return new Response("{}");
    };
    const base = document.createElement("base");
    base.href = `${evil.url}/`;
    document.head.append(base);
    const here = core.createAuthClient({ fetch: fake, channel: "base" });
    await here.password.forgot("a@example.com");
    expect(asked).toEqual([`${PAGE}/auth/password/forgot`]);
    // A relative address is where the browser would send it.
    expect(here.isTrusted("/x")).toBe(false);
    base.remove();
    expect(here.isTrusted("/x")).toBe(true);
    here.dispose();
  });

  it("is nowhere without a page, until a request is made", async () => {
    for (const name of ["location", "document", "window"]) vi.stubGlobal(name, undefined);
    const early = core.createAuthClient({ channel: "early" });
    await expect(early.me()).rejects.toMatchObject({ code: "destination_refused" });
    expect(early.isTrusted("/x")).toBe(false);
    early.dispose();
  });

  it("is not any page of an opaque origin", () => {
    vi.stubGlobal("location", { href: "file:///home/page.html", origin: "null" });
    vi.stubGlobal("document", undefined);
    for (const url of ["data:,x", "file:///etc/hostname", "null", "app://elsewhere/", "/x"])
      expect(client.isTrusted(url), url).toBe(false);
    expect(client.isTrusted(service.url)).toBe(true);
  });

  it("is asked of every address", () => {
    for (const url of elsewhere()) expect(client.isTrusted(url), JSON.stringify(url)).toBe(false);
    for (const url of [service.url, `${service.url}/x`, service.url.toUpperCase(), `${friend.url}/x`, PAGE, "/x", "x"])
      expect(client.isTrusted(url), url).toBe(true);
    expect(client.isTrusted(new URL(`${friend.url}/x`))).toBe(true);
  });
});

describe("a6: client.fetch", () => {
  it("sends the token to no address elsewhere", async () => {
    for (const url of elsewhere()) {
      await client.fetch(url).catch(() => {});
      await client.fetch(url, { method: "POST", body: "x" }).catch(() => {});
    }
    expect(evil.received.length).toBeGreaterThan(10);
    expect(evil.hasSecret).toBe(false);
    await client.fetch(`${friend.url}/x`);
    expect(friend.hasSecret).toBe(true);
  });

  it.each(REDIRECTS)("takes the token along no redirect: %i", async (status) => {
    service.everywhere = { status, headers: { location: `${evil.url}/taken` } };
    const answer = await client.fetch(`${service.url}/chat`);
    expect(answer.status).toBe(200);
    await expect(client.fetch(`${service.url}/chat`, { method: "POST", body: "{}" })).rejects.toMatchObject({
      code: "redirect_refused",
      kind: "failed",
    });
    // As the caller wants it.
    expect((await client.fetch(`${service.url}/chat`, { redirect: "manual" })).status).toBe(status);
    await expect(client.fetch(`${service.url}/chat`, { redirect: "error" })).rejects.toThrow();
    expect(evil.received).toHaveLength(1);
    expect(evil.hasSecret).toBe(false);
  });

  it("sends the token to the end of a redirect that is trusted", async () => {
    service.everywhere = { status: 307, headers: { location: `${friend.url}/moved` } };
    await client.fetch(`${service.url}/chat`);
    expect(friend.received).toHaveLength(2);
    expect(friend.received[0]).not.toMatch(/bearer/i);
    expect(friend.received[1]).toMatch(/GET \/moved\n.*"authorization":"Bearer access-/);
    // Only for who has the token: there is nowhere to go for others.
    service.everywhere = null;
    service.instead["/chat"] = [{ status: 302, headers: { location: `${evil.url}/x` } }];
    await expect(client.fetch(`${service.url}/chat`)).rejects.toMatchObject({ code: "redirect_refused" });
    // A second redirect is one too many.
    service.everywhere = { status: 307, headers: { location: `${friend.url}/moved` } };
    let turns = 0;
    const turning = make({
      fetch: async (input, init) => {
        turns += 1;
        if (turns === 4) friend.answer = { status: 302, headers: { location: `${evil.url}/x` } };
        return oldFetch(input, init);
      },
    });
    service.everywhere = null;
    await turning.login({ email: "user@example.com", password: "right" });
    service.everywhere = { status: 307, headers: { location: `${friend.url}/moved` } };
    await expect(turning.fetch(`${service.url}/chat`)).rejects.toMatchObject({ code: "redirect_refused" });
    turning.dispose();
    expect(evil.hasSecret).toBe(false);
  });

  it("takes no answer of another origin as one about the session", async () => {
    service.everywhere = { status: 302, headers: { location: `${evil.url}/taken` } };
    evil.answer = { status: 401, body: JSON.stringify({ code: "session_revoked" }) };
    expect((await client.fetch(`${service.url}/chat`)).status).toBe(401);
    expect(client.state.status).toBe("signed-in");
    expect(service.count("/auth/refresh")).toBe(0);
  });
});

type Adapter = NonNullable<InternalAxiosRequestConfig["adapter"]>;
const ADAPTERS: [name: string, adapter: Adapter][] = [
  ["http", "http"],
  ["fetch", "fetch"],
  ["xhr", "xhr"],
];

describe.each(ADAPTERS)("a6: axios, %s", (_, adapter) => {
  let api: AxiosInstance;
  const anything = () => true;

  beforeEach(() => {
    // jsdom's XMLHttpRequest keeps to CORS.
    service.cors = true;
    api = axios.create({ baseURL: service.url, adapter, validateStatus: anything, env: { fetch: oldFetch } });
    axiosEntry.attachAuth(api, client);
  });

  it("sends the token to the service and to no address elsewhere", async () => {
    expect((await api.get("/chat")).status).toBe(200);
    expect((await api.get(`${friend.url}/x`)).status).toBe(200);
    expect(friend.hasSecret).toBe(true);
    for (const url of elsewhere()) {
      await api.get(url).catch(() => {});
      await api.post(url, { x: 1 }).catch(() => {});
      await api.get("/x", { baseURL: url }).catch(() => {});
      await api.get(url, { allowAbsoluteUrls: false }).catch(() => {});
    }
    await api.get("x", { params: { a: 1 }, paramsSerializer: () => `@${hostOf(evil.url)}/` }).catch(() => {});
    expect(evil.received.length).toBeGreaterThan(5);
    expect(evil.hasSecret).toBe(false);
  });

  it("asks where a request goes after all interceptors have run", async () => {
    const changes: ((config: InternalAxiosRequestConfig) => unknown)[] = [
      (config) => Object.assign(config, { url: `${evil.url}/url` }),
      (config) => Object.assign(config, { baseURL: evil.url }),
      (config) => ({ ...config, url: `${evil.url}/copy` }),
      (config) =>
        Object.assign(config, {
          transformRequest: [
            function (this: object) {
              Object.assign(this, { url: `${evil.url}/transform` });
            },
          ],
        }),
    ];
    for (const change of changes) {
      // One that was there before runs last, one that comes later runs first.
      const mine = axios.create({ baseURL: service.url, adapter, validateStatus: anything, env: { fetch: oldFetch } });
      mine.interceptors.request.use((config) => change(config) as InternalAxiosRequestConfig);
      axiosEntry.attachAuth(mine, client);
      await mine.get("/chat").catch(() => {});
      axiosEntry.attachAuth(mine, client);
      mine.interceptors.request.use((config) => change(config) as InternalAxiosRequestConfig);
      await mine.post("/chat", {}).catch(() => {});
    }
    expect(evil.received.filter((text) => !text.startsWith("OPTIONS")).length).toBe(2 * changes.length);
    expect(evil.hasSecret).toBe(false);
  });

  it("asks again for the second try after a 401", async () => {
    const seen: unknown[] = [];
    const moving = axios.create({ baseURL: service.url, adapter, env: { fetch: oldFetch } });
    axiosEntry.attachAuth(moving, client);
    moving.interceptors.request.use((config) => {
      if (seen.push(config.url) > 1) config.url = `${evil.url}/second`;
      return config;
    });
    service.expireAll();
    await moving.get("/chat");
    expect(seen).toEqual(["/chat", "/chat"]);
    expect(evil.received.some((text) => text.startsWith("GET /second"))).toBe(true);
    expect(evil.hasSecret).toBe(false);
  });

  it.each(REDIRECTS)("takes the token along no redirect to elsewhere: %i", async (status) => {
    service.everywhere = { status, headers: { location: `${evil.url}/taken` } };
    await api.get("/chat").catch(() => {});
    await api.post("/chat", { x: 1 }).catch(() => {});
    await api.get("/chat", { fetchOptions: { redirect: "follow" } }).catch(() => {});
    expect(evil.received.some((text) => /bearer/i.test(text))).toBe(false);
  });

  it("keeps the token out of answers and errors, which programs log", async () => {
    const answer = await api.get("/chat");
    expect(JSON.stringify([answer.config.headers, answer.headers, answer.data])).not.toMatch(/access-\d/);
    const error = await api.get("/chat", { validateStatus: () => false }).catch((failure) => failure);
    expect(JSON.stringify([error, error.response.config, error.config.headers])).not.toMatch(/Bearer/);
    expect(JSON.stringify(error.toJSON())).not.toMatch(/access-\d/);
  });

  it("leaves a header of the caller's own as it is", async () => {
    const own = await api.get("/chat", { headers: { Authorization: "Basic eDp5" } });
    expect(own.status).toBe(401);
    expect(service.headers.at(-1)?.authorization).toBe("Basic eDp5");
  });
});

/** As axios of earlier versions uses follow-redirects, which keeps the header where a redirect leads to a subdomain. */
const olderAxios: AxiosAdapter = (config) =>
  new Promise((done, fail) => {
    const { http } = createRequire(createRequire(import.meta.url).resolve("axios"))("follow-redirects");
    const { hostname, port, pathname } = new URL(new axios.Axios({}).getUri(config));
    const { method, beforeRedirect, lookup } = config;
    const headers = (config.headers as AxiosHeaders).toJSON();
    const options = { hostname, port, path: pathname, method: method?.toUpperCase(), headers, beforeRedirect, lookup };
    const request = http.request(options, (response: IncomingMessage) => {
      response.resume();
      response.once("end", () =>
        done({ data: "", status: response.statusCode ?? 0, statusText: "", headers: {}, config }),
      );
    });
    request.once("error", fail);
    request.end();
  });

describe.each([
  ["http", "http"],
  ["an older version's", olderAxios],
])("a6: axios in Node.js, adapter: %s", (_, adapter) => {
  it("takes the token along no redirect to a subdomain, and along one of the same origin", async () => {
    const port = Number(new URL(service.url).port);
    const below = await new Recorder().start(port, "127.0.0.2");
    const lookup = (host: string, { all }: { all?: boolean }, done: (...values: unknown[]) => void) => {
      const address = host.startsWith("evil.") ? "127.0.0.2" : "127.0.0.1";
      if (all) done(null, [{ address, family: 4 }]);
      else done(null, address, 4);
    };
    const one = make({ origins: [`http://site.test:${port}`] });
    await one.login({ email: "user@example.com", password: "right" });
    const api = axios.create({ baseURL: `http://site.test:${port}`, adapter, proxy: false, lookup: lookup as never });
    axiosEntry.attachAuth(api, one);
    const hooks: string[] = [];
    service.instead["/chat"] = [{ status: 307, headers: { location: `http://evil.site.test:${port}/taken` } }];
    await api.get("/chat", { beforeRedirect: ({ href }) => void hooks.push(href) });
    expect(hooks).toEqual([`http://evil.site.test:${port}/taken`]);
    expect(below.received).toHaveLength(1);
    expect(below.hasSecret).toBe(false);
    service.instead["/chat"] = [{ status: 307, headers: { location: "/other" } }];
    expect((await api.get("/chat")).status).toBe(200);
    expect(service.headers.at(-1)?.authorization).toMatch(/^Bearer access-/);
    one.dispose();
    await below.stop();
  });
});
