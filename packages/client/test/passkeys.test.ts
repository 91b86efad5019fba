// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type AuthClient, createAuthClient } from "../src";
import { Service } from "./service";

const bytes = (text: string) => Uint8Array.from(text, (char) => char.charCodeAt(0)).buffer;
const OPTIONS = {
  challenge: "_-8",
  timeout: 600_000,
  rpId: "localhost",
  allowCredentials: [{ type: "public-key", id: "AQID", transports: ["internal"] }],
  userVerification: "required",
};
const found = {
  rawId: bytes("\u00fb\u00ff"),
  response: {
    clientDataJSON: bytes("{}"),
    authenticatorData: bytes("a"),
    signature: bytes("s"),
    userHandle: bytes("u"),
  },
};

let service: Service;
let client: AuthClient;
const get = vi.fn();
const signalUnknownCredential = vi.fn(async () => {});

beforeEach(async () => {
  localStorage.clear();
  service = await new Service().start();
  service.instead["/auth/login/passkey/options"] = [1, 2, 3].map(() => ({ status: 200, body: OPTIONS }));
  vi.stubGlobal("PublicKeyCredential", { isConditionalMediationAvailable: async () => true, signalUnknownCredential });
  Object.defineProperty(navigator, "credentials", { configurable: true, value: { get } });
  client = createAuthClient({ baseUrl: service.url, storage: "localStorage", channel: `passkeys-${Math.random()}` });
});

afterEach(async () => {
  client.dispose();
  vi.unstubAllGlobals();
  Reflect.deleteProperty(navigator, "credentials");
  get.mockReset();
  await service.stop();
});

describe("passkeys", () => {
  it("are read and written as the service has them", async () => {
    get.mockResolvedValue(found);
    service.instead["/auth/login/passkey"] = [{ status: 401, body: { code: "passkey_unknown" } }];
    await expect(client.passkeys.signIn()).rejects.toMatchObject({ kind: "failed", code: "passkey_unknown" });
    const [asked] = get.mock.calls.flat() as CredentialRequestOptions[];
    const { publicKey, mediation } = asked ?? {};
    expect([...new Uint8Array(publicKey?.challenge as ArrayBuffer)]).toEqual([255, 239]);
    expect([...new Uint8Array(publicKey?.allowCredentials?.[0]?.id as ArrayBuffer)]).toEqual([1, 2, 3]);
    expect(mediation).toBeUndefined();
    expect(service.bodies.at(-1)).toMatchObject({
      assertion: {
        id: "-_8",
        type: "public-key",
        response: { clientDataJSON: "e30", authenticatorData: "YQ", signature: "cw", userHandle: "dQ" },
      },
      transport: "body",
    });
    // The browser offers no longer what the service does not know.
    expect(signalUnknownCredential).toHaveBeenCalledWith({ rpId: "localhost", credentialId: "-_8" });
    expect(client.state.status).not.toBe("signed-in");
  });

  it("that are offered at a field end with the next ceremony", async () => {
    get.mockImplementation(
      ({ signal }: { signal: AbortSignal }) =>
        new Promise((_, fail) => {
          signal.addEventListener("abort", () => fail(new DOMException("", "AbortError")));
        }),
    );
    expect(await client.passkeys.isOfferedInFields()).toBe(true);
    const offered = client.passkeys.signIn({ mediation: "conditional" });
    const ended = expect(offered).rejects.toMatchObject({ code: "passkey_cancelled" });
    await vi.waitFor(() => expect(get).toHaveBeenCalledTimes(1));
    const stop = new AbortController();
    const asked = client.passkeys.signIn({ signal: stop.signal });
    const stopped = expect(asked).rejects.toMatchObject({ code: "passkey_cancelled" });
    await ended;
    await vi.waitFor(() => expect(get).toHaveBeenCalledTimes(2));
    stop.abort();
    await stopped;
  });

  it("are none where the browser has none", async () => {
    vi.stubGlobal("PublicKeyCredential", undefined);
    expect(await client.passkeys.isOfferedInFields()).toBe(false);
    await expect(client.passkeys.signIn()).rejects.toMatchObject({ code: "passkeys_unsupported" });
  });
});
