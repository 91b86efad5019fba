import type { components } from "./api";
import type { AuthError } from "./errors";
import type { AuthClient, RequestOptions, User } from "./types";

type Schemas = components["schemas"];

/** What the browser has for passkeys, where it has it (WebAuthn level 3). */
interface Browser {
  isConditionalMediationAvailable?(): Promise<boolean>;
  signalUnknownCredential?(options: { rpId: string; credentialId: string }): Promise<void>;
  signalAllAcceptedCredentials?(options: {
    rpId: string;
    userId: string;
    allAcceptedCredentialIds: string[];
  }): Promise<void>;
}

const browser = (): Browser | undefined => (globalThis as { PublicKeyCredential?: Browser }).PublicKeyCredential;

const isOfferedInFields = async (): Promise<boolean> => (await browser()?.isConditionalMediationAvailable?.()) ?? false;

// By hand: not every browser that has passkeys reads and writes their JSON, and some password managers answer in its place with an
// object that cannot be written.

function decode(text: string): ArrayBuffer {
  const binary = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
  return Uint8Array.from(binary, (char) => char.charCodeAt(0)).buffer;
}

function encode(bytes: ArrayBuffer): string {
  const binary = Array.from(new Uint8Array(bytes), (byte) => String.fromCharCode(byte)).join("");
  return btoa(binary).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

const descriptors = (list: Schemas["PasskeyDescriptor"][]): PublicKeyCredentialDescriptor[] =>
  list.map(({ id, transports }) => ({
    type: "public-key",
    id: decode(id),
    transports: transports as AuthenticatorTransport[],
  }));

type Fail = (code: string, detail?: string) => AuthError;

/** Browsers have one ceremony at a time: a new one ends the one before, such as what is offered at a field. */
let current = new AbortController();

async function ceremony<T>(
  fail: Fail,
  signal: AbortSignal | undefined,
  run: (signal: AbortSignal) => Promise<T | null>,
): Promise<T> {
  if (!browser()) throw fail("passkeys_unsupported");
  current.abort();
  current = new AbortController();
  const own = current;
  const stop = () => own.abort();
  signal?.addEventListener("abort", stop, { once: true });
  if (signal?.aborted) stop();
  try {
    const done = await run(own.signal);
    if (done) return done;
  } catch (error) {
    if ((error as DOMException).name === "InvalidStateError") throw fail("passkey_exists");
    if (!["NotAllowedError", "AbortError"].includes((error as DOMException).name))
      throw fail("passkey_failed", String((error as Error).message ?? error));
  } finally {
    signal?.removeEventListener("abort", stop);
  }
  throw fail("passkey_cancelled");
}

/** Makes a passkey. */
async function createPasskey(
  fail: Fail,
  options: Schemas["PasskeyCreationOptions"],
): Promise<Schemas["PasskeyRegistration"]> {
  const publicKey = {
    ...options,
    challenge: decode(options.challenge),
    user: { ...options.user, id: decode(options.user.id) },
    excludeCredentials: descriptors(options.excludeCredentials),
  } as PublicKeyCredentialCreationOptions;
  const made = await ceremony(fail, undefined, (signal) => navigator.credentials.create({ publicKey, signal }));
  const { rawId, response } = made as PublicKeyCredential & { response: AuthenticatorAttestationResponse };
  return {
    id: encode(rawId),
    type: "public-key",
    response: {
      clientDataJSON: encode(response.clientDataJSON),
      attestationObject: encode(response.attestationObject),
      transports: response.getTransports?.() ?? [],
    },
  };
}

/** Uses a passkey. */
async function findPasskey(
  fail: Fail,
  options: Schemas["PasskeyRequestOptions"],
  signal?: AbortSignal,
  mediation?: "conditional",
): Promise<Schemas["PasskeyAssertion"]> {
  const publicKey = {
    ...options,
    challenge: decode(options.challenge),
    allowCredentials: descriptors(options.allowCredentials),
  } as PublicKeyCredentialRequestOptions;
  const found = await ceremony(fail, signal, (until) =>
    navigator.credentials.get({ publicKey, signal: until, ...(mediation && { mediation }) }),
  );
  const { rawId, response } = found as PublicKeyCredential & { response: AuthenticatorAssertionResponse };
  return {
    id: encode(rawId),
    type: "public-key",
    response: {
      clientDataJSON: encode(response.clientDataJSON),
      authenticatorData: encode(response.authenticatorData),
      signature: encode(response.signature),
      ...(response.userHandle && { userHandle: encode(response.userHandle) }),
    },
  };
}

/** Tells the browser that the service does not know a passkey, so that it is offered no longer. */
async function signalUnknown(rpId: string, credentialId: string): Promise<void> {
  await browser()
    ?.signalUnknownCredential?.({ rpId, credentialId })
    .catch(() => {});
}

/** Tells the browser which passkeys of a user are left. */
async function signalAccepted(rpId: string, uid: string, allAcceptedCredentialIds: string[]): Promise<void> {
  const bytes = uid.replace(/-/g, "").match(/../g) ?? [];
  const userId = encode(Uint8Array.from(bytes, (byte) => Number.parseInt(byte, 16)).buffer);
  await browser()
    ?.signalAllAcceptedCredentials?.({ rpId, userId, allAcceptedCredentialIds })
    .catch(() => {});
}

/** What the client does for passkeys. */
export interface Service {
  request<T>(method: string, path: string, options?: RequestOptions): Promise<T>;
  /** Without an answer to `step_up_required`. */
  requestOnce<T>(method: string, path: string, options?: RequestOptions): Promise<T>;
  /** With this access token, or without one. */
  callService<T>(method: string, path: string, token: string | null): Promise<T>;
  accept(answer: Schemas["TokenResponse"]): Promise<User>;
  signIn(body: { assertion: Schemas["PasskeyAssertion"] }): Promise<User>;
  me(): Promise<User>;
  fail: Fail;
}

type Passkeys = Omit<AuthClient["passkeys"], "isSupported"> & { forStepUp(): Promise<Schemas["PasskeyAssertion"]> };

export function createPasskeys({ request, requestOnce, callService, accept, signIn, me, fail }: Service): Passkeys {
  const options = () => callService<Schemas["PasskeyRequestOptions"]>("POST", "/auth/login/passkey/options", null);
  const pathOf = (id: string) => `/auth/passkeys/${encodeURIComponent(id)}`;
  const list = async () => (await request<Schemas["FactorsResponse"]>("GET", "/auth/factors")).passkeys;
  return {
    isOfferedInFields,
    list,
    async register({ password, name }) {
      const asked = { body: { password } };
      const credential = await createPasskey(fail, await request("POST", "/auth/passkeys/options", asked));
      const answer = await request<Schemas["PasskeyAddedResponse"]>("POST", "/auth/passkeys", {
        body: { credential, ...(name && { name }) },
      });
      await accept(answer);
      return { passkey: answer.passkey, recoveryCodes: answer.recovery_codes ?? null };
    },
    rename: (id, name) => request("PATCH", pathOf(id), { body: { name } }),
    async remove(id) {
      await request<void>("DELETE", pathOf(id));
      const { uid } = await me();
      const left = (await list()).map((passkey) => passkey.credential_id);
      await signalAccepted((await options()).rpId, uid, left);
    },
    async signIn({ mediation, signal } = {}) {
      const asked = await options();
      const assertion = await findPasskey(fail, asked, signal, mediation);
      try {
        return await signIn({ assertion });
      } catch (error) {
        if ((error as AuthError).code === "passkey_unknown") await signalUnknown(asked.rpId, assertion.id);
        throw error;
      }
    },
    use: (asked, signal) => findPasskey(fail, asked, signal),
    forStepUp: async () => findPasskey(fail, await requestOnce("POST", "/auth/step-up/options")),
  };
}
