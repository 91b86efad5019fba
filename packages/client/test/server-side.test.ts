import { createElement } from "react";
import { renderToString } from "react-dom/server";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type AuthClient, type AuthClientOptions, createAuthClient } from "../src";
import { AuthProvider, ProtectedRoute, Show, useReturnTo, useUser } from "../src/react";
import { Service } from "./service";

// Without a browser: this file runs in Node.js as it is.
let service: Service;
const clients: AuthClient[] = [];
const credentials = { email: "user@example.com", password: "right" };

const create = (options: AuthClientOptions) => {
  const client = createAuthClient({ baseUrl: service.url, ...options });
  clients.push(client);
  return client;
};

beforeEach(async () => {
  service = await new Service().start();
});

afterEach(async () => {
  for (const client of clients.splice(0)) client.dispose();
  vi.unstubAllGlobals();
  await service.stop();
});

describe("d2: on a server that renders for many visitors", () => {
  /** What newer versions of Node.js have beside BroadcastChannel. */
  function stubStorage() {
    const values = new Map<string, string>();
    vi.stubGlobal("localStorage", {
      getItem: (key: string) => values.get(key) ?? null,
      setItem: (key: string, value: string) => values.set(key, value),
      removeItem: (key: string) => values.delete(key),
    });
    return values;
  }

  it.each(["memory", "localStorage"] as const)("no visitor becomes another, with %s", async (storage) => {
    const values = stubStorage();
    const [one, other] = [create({ storage }), create({ storage })];
    await one.login(credentials);
    await new Promise((done) => setTimeout(done, 300));
    expect(one.state.status).toBe("signed-in");
    expect(other.state).toMatchObject({ status: "loading", user: null });
    expect((await other.ready()).status).toBe("signed-out");
    await expect(other.getAccessToken()).rejects.toMatchObject({ kind: "signed_out" });
    await other.login({ email: "user@example.com", password: "right" });
    await one.logout();
    expect(other.state.status).toBe("signed-in");
    expect([...values]).toEqual([]);
  });

  it("a sign-out that has to wait is no other visitor's", async () => {
    stubStorage();
    const [one, other] = [create({ storage: "memory" }), create({ storage: "memory" })];
    await one.login(credentials);
    await other.login(credentials);
    service.lose["/auth/logout"] = 1;
    await one.logout();
    await other.ready();
    await other.refresh();
    expect(other.state.status).toBe("signed-in");
  });

  it("a page is rendered as one whose user is not known yet, also beside a signed-in visitor", async () => {
    const [one, other] = [create({ storage: "memory" }), create({ storage: "memory" })];
    await one.login(credentials);
    const Page = () =>
      createElement(
        "main",
        null,
        `${useUser()?.email ?? "unknown"} back to ${useReturnTo("/home")}`,
        createElement(Show, { when: "signed-in" }, "for users"),
        createElement(Show, { when: "loading" }, "for all"),
        createElement(ProtectedRoute, { loading: "waiting" }, "secret"),
      );
    const html = renderToString(createElement(AuthProvider, { client: other }, createElement(Page)));
    expect(html.replace(/<!-- -->/g, "")).toBe("<main>unknown back to /homefor allwaiting</main>");
  });

  it("no visitor waits for another's refresh", async () => {
    const request = vi.fn();
    vi.stubGlobal("navigator", { locks: { request } });
    const client = create({ storage: "memory" });
    await client.login(credentials);
    await client.refresh();
    expect(request).not.toHaveBeenCalled();
  });
});

describe("d12: in React Native", () => {
  it("a client signs in, refreshes and is disposed of, without document and events", async () => {
    vi.stubGlobal("window", globalThis);
    vi.stubGlobal("BroadcastChannel", undefined);
    vi.stubGlobal("navigator", { product: "ReactNative" });
    const values = new Map<string, string>();
    const client = create({
      storage: {
        get: async (key) => values.get(key) ?? null,
        set: async (key, value) => void values.set(key, value),
        remove: async (key) => void values.delete(key),
      },
    });
    expect((await client.ready()).status).toBe("signed-out");
    await client.login(credentials);
    await client.refresh();
    await expect(client.me()).resolves.toMatchObject({ id: 1 });
    expect((await client.fetch(`${service.url}/auth/me`, { method: "GET" })).status).toBe(200);
    expect(values.get("josoor_refresh_token")).toMatch(/^refresh\./);
    client.dispose();
  });
});
