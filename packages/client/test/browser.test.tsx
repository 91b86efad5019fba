// @vitest-environment jsdom
import { cleanup, render, screen, waitFor } from "@testing-library/react";
import { StrictMode, useSyncExternalStore } from "react";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type AuthClient, type AuthClientOptions, AuthError, type AuthErrorKind, createAuthClient } from "../src";
import { AuthProvider, ProtectedRoute } from "../src/react";
import { Service } from "./service";

let service: Service;
const clients: AuthClient[] = [];
const credentials = { email: "user@example.com", password: "right" };
let channels = 0;

const create = (options: AuthClientOptions = {}) => {
  channels += 1;
  const client = createAuthClient({
    baseUrl: service.url,
    storage: "localStorage",
    channel: `browser-${channels}`,
    ...options,
  });
  clients.push(client);
  return client;
};

beforeEach(async () => {
  localStorage.clear();
  history.replaceState(null, "", "/");
  service = await new Service().start();
});

afterEach(async () => {
  cleanup();
  for (const client of clients.splice(0)) client.dispose();
  vi.restoreAllMocks();
  vi.unstubAllGlobals();
  await service.stop();
});

describe("d23: a browser that blocks site data", () => {
  it("lets nothing hang when channels and locks throw", async () => {
    vi.stubGlobal(
      "BroadcastChannel",
      class {
        constructor() {
          throw new DOMException("blocked", "SecurityError");
        }
      },
    );
    vi.stubGlobal("navigator", {
      onLine: true,
      get locks() {
        throw new DOMException("blocked", "SecurityError");
      },
    });
    const client = create();
    expect((await client.ready()).status).toBe("signed-out");
    await client.login(credentials);
    await client.refresh();
    expect(client.state.status).toBe("signed-in");
  });

  it("is named before a password is sent", async () => {
    vi.spyOn(document, "cookie", "get").mockReturnValue("");
    const client = create({ storage: "cookie" });
    for (const attempt of [client.login(credentials), client.register(credentials)])
      await expect(attempt).rejects.toMatchObject({
        code: "cookies_blocked",
        detail: expect.stringMatching(/cookies/),
      });
    expect([service.count("/auth/login"), service.count("/auth/register")]).toEqual([0, 0]);
    // Other storages need no cookie.
    await expect(create().login(credentials)).resolves.toMatchObject({ id: 1 });
  });
});

describe("a4: a failure", () => {
  it.each(["signed_out", "offline", "server_unavailable", "rate_limited", "failed"] as AuthErrorKind[])(
    "of kind %s always says what it is",
    (kind) => {
      expect(new AuthError({ kind, code: "some_code", detail: "" }).detail).toMatch(/\w+ .*\.$/);
    },
  );

  /** As a browser does it for a page whose origin the service does not list; a service that is away answers neither. */
  const blocking =
    (isThere: boolean): typeof fetch =>
    async (_, init) => {
      if (isThere && init?.mode === "no-cors") return Response.error();
      throw new TypeError("Failed to fetch");
    };

  it("by CORS is distinguished from a service that is away, and signs out in neither case", async () => {
    const send = vi.fn(blocking(true));
    const blocked = create({ fetch: send });
    await expect(blocked.login(credentials)).rejects.toMatchObject({
      code: "cors_blocked",
      detail: expect.stringContaining("CORS_ORIGINS"),
    });
    const probes = () => send.mock.calls.filter(([, init]) => init?.mode).length;
    expect(probes()).toBe(2);
    await expect(blocked.login(credentials)).rejects.toMatchObject({ code: "cors_blocked" });
    expect(probes()).toBe(2);
    expect(blocked.state).toMatchObject({ status: "loading", connectivity: "unavailable" });
    await expect(create({ fetch: blocking(false) }).login(credentials)).rejects.toMatchObject({
      code: "server_unavailable",
      detail: expect.stringMatching(/cannot be reached, or .*CORS_ORIGINS/),
    });
  });

  it("of one answer that was lost is not taken for CORS", async () => {
    service.lose["/auth/login"] = 1;
    await expect(create().login(credentials)).rejects.toMatchObject({ code: "server_unavailable" });
  });

  it("because an API is not in `origins` is named on the developer's machine, once it is refused", async () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    const api = await new Service().start();
    api.everywhere = { status: 401, body: {} };
    const client = create();
    await client.login(credentials);
    await client.fetch(`${api.url}/reports`);
    expect(warn).toHaveBeenCalledWith(expect.stringContaining(api.url));
    api.everywhere = { status: 200, body: {} };
    await client.fetch(`${api.url}/reports`);
    expect(warn).toHaveBeenCalledTimes(1);
    await api.stop();
  });
});

describe("a4: ProtectedRoute", () => {
  /** A router whose function moves the address at once, as most do. */
  const calls: [to: string, options: unknown][] = [];
  function navigate(to: string, options: { replace: true }) {
    calls.push([to, options]);
    history.replaceState(null, "", to);
    dispatchEvent(new PopStateEvent("popstate"));
  }
  function App({ client }: { client: AuthClient }) {
    const path = useSyncExternalStore(
      (changed) => {
        addEventListener("popstate", changed);
        return () => removeEventListener("popstate", changed);
      },
      () => location.pathname,
    );
    return (
      <AuthProvider client={client}>
        {path === "/login" ? (
          <p>sign in</p>
        ) : (
          <ProtectedRoute navigate={navigate} loading={<p>waiting</p>} unavailable={<p>away</p>}>
            <p>secret</p>
          </ProtectedRoute>
        )}
      </AuthProvider>
    );
  }

  it("leads back to where it began, in StrictMode, mounted while signed out", async () => {
    calls.length = 0;
    const client = create();
    await client.ready();
    history.replaceState(null, "", "/reports?q=1");
    render(
      <StrictMode>
        <App client={client} />
      </StrictMode>,
    );
    await screen.findByText("sign in");
    expect(calls).toEqual([["/login?return_to=%2Freports%3Fq%3D1", { replace: true }]]);
    // Whenever it is needed again it leads there again.
    await new Promise((done) => setTimeout(done, 10));
    navigate("/reports?q=2", { replace: true });
    await waitFor(() => expect(location.search).toBe("?return_to=%2Freports%3Fq%3D2"));
  });

  it("says that the service cannot be reached instead of showing nothing", async () => {
    localStorage.setItem("josoor_refresh_token", "refresh.1.0");
    await service.stop();
    const client = create();
    render(<App client={client} />);
    expect(screen.getByText("waiting")).toBeTruthy();
    await screen.findByText("away");
    await service.start();
  });
});
