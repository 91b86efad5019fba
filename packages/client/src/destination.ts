import { AuthError } from "./errors";

/** The statuses that send a request elsewhere (RFC 9110, 15.4). */
const REDIRECTS = [301, 302, 303, 307, 308];

/** The one place that decides where a token may be sent. */
export interface Destinations {
  /** Whether an address is the service's, this page's own origin's, or one of `origins`. */
  trusts(url: string | URL): boolean;
  /** The address of a path of the service. Throws `destination_refused` for anything but a path below it. */
  service(path: string): URL;
  /**
   * Sends a request with the token to an address that is trusted. A redirect never takes the token along: browsers from before
   * 2023 pass `Authorization` on to any origin. Reads are asked for once more at the redirect's end, with the token only where
   * that is trusted, too; a write is refused with `redirect_refused`, because it may have taken effect.
   */
  carry(request: Request, token: string, send: typeof fetch): Promise<Response>;
}

/**
 * An address of http or https without credentials in it; null for anything else. All opaque origins are written "null", so that
 * `data:` would equal `file:`; no scheme with such an origin passes.
 */
function parse(url: string | URL, base?: string): URL | null {
  try {
    const parsed = new URL(url, base);
    return /^https?:$/.test(parsed.protocol) && !parsed.username && !parsed.password ? parsed : null;
  } catch {
    return null;
  }
}

/** Whether an answer is a redirect that was not followed. Browsers hide its status, Node.js shows it. */
export const isRedirect = ({ type, status }: Response): boolean =>
  type === "opaqueredirect" || REDIRECTS.includes(status);

export const redirectRefused = (kind: "failed" | "server_unavailable"): AuthError =>
  new AuthError({
    kind,
    code: "redirect_refused",
    detail: "A token follows no redirect. Use the address that it leads to.",
  });

export function createDestinations(baseUrl: string, origins: readonly string[]): Destinations {
  const further = origins.map((place) => {
    const origin = parse(place)?.origin;
    if (!origin) throw new TypeError(`origins: "${place}" is no origin; write one like "https://api.example.org"`);
    return origin;
  });
  // None on a server, and none that can be trusted on a page of `file:` or of a sandbox.
  const here = () => parse(globalThis.location?.origin ?? "")?.origin;
  // Against the page's origin, and not against a <base>, which injected markup could set.
  const home = () => parse(baseUrl || "/", here());
  // On a server there is no page yet that a relative address could belong to.
  if (!home() && (here() || /^[a-z][a-z\d+.-]*:/i.test(baseUrl)))
    throw new TypeError(
      `baseUrl: "${baseUrl}" is no address of http or https; write one like "https://auth.example.org"`,
    );

  function trusts(url: string | URL): boolean {
    // Relative addresses as the browser resolves them, which is where it would send the request.
    const target = parse(url, globalThis.document?.baseURI ?? globalThis.location?.href);
    if (!target) return false;
    return [here(), home()?.origin, ...further].includes(target.origin);
  }

  function service(path: string): URL {
    const base = home();
    const prefix = base?.pathname.replace(/\/+$/, "") ?? "";
    const url = base && path.startsWith("/") ? parse(base.origin + prefix + path) : null;
    // What counts is what the path becomes: "/../" leads out of the service, "/\" and a tab are ways to write "//".
    const isBelow = url?.pathname.startsWith(`${prefix}/`) && !url.pathname.startsWith(`${prefix}//`);
    if (url && isBelow && url.origin === base?.origin) return url;
    throw new AuthError({
      kind: "failed",
      code: "destination_refused",
      detail: base
        ? "A path begins with exactly one slash and stays below the service."
        : "Outside a page baseUrl has to be absolute.",
    });
  }

  async function carry(request: Request, token: string, send: typeof fetch): Promise<Response> {
    const bearing = (one: Request) => {
      const copy = one.redirect === "follow" ? new Request(one, { redirect: "manual" }) : one;
      copy.headers.set("Authorization", `Bearer ${token}`);
      return copy;
    };
    const follows = request.redirect === "follow";
    const isRead = /^(GET|HEAD)$/.test(request.method);
    const plain = follows && isRead ? [request.clone(), request.clone()] : null;
    const answer = await send(bearing(request));
    if (!follows || !isRedirect(answer)) return answer;
    if (!plain) throw redirectRefused("failed");
    // Where does it lead? Asked without the token.
    const [asked, again] = plain as [Request, Request];
    const end = await send(asked);
    if (!end.redirected) throw redirectRefused("failed");
    if (!trusts(end.url)) return end;
    void end.body?.cancel();
    const last = await send(bearing(new Request(end.url, again)));
    if (isRedirect(last)) throw redirectRefused("failed");
    return last;
  }

  return { trusts, service, carry };
}
