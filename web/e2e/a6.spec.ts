import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { resolve } from "node:path";
import { expect, test } from "./server";

const CLIENT = resolve(import.meta.dirname, "../../packages/client/dist");
const AXIOS = resolve(import.meta.dirname, "../../node_modules/axios/dist/esm/axios.js");

/** An origin of its own, which pages of every other one may ask and read. */
async function origin(answer: (request: IncomingMessage, response: ServerResponse) => void) {
  const received: string[] = [];
  const server: Server = createServer((request, response) => {
    if (request.method !== "OPTIONS")
      received.push(`${request.method} ${request.url} ${request.headers.authorization ?? "-"}`);
    response.setHeader("access-control-allow-origin", request.headers.origin ?? "*");
    response.setHeader("access-control-allow-headers", "authorization, content-type");
    response.setHeader("access-control-allow-methods", "GET, HEAD, POST, PUT, PATCH, DELETE");
    response.setHeader("access-control-allow-credentials", "true");
    if (request.method === "OPTIONS") response.writeHead(204).end();
    else answer(request, response);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const stop = () => {
    server.closeAllConnections();
    return new Promise((done) => server.close(done));
  };
  return { url, received, stop };
}

test("a6: in a browser the token goes to no other origin, by fetch or axios, redirects included", async ({ page }) => {
  const evil = await origin((_, response) => void response.end("{}"));
  // The service and the page are of one origin; some of its paths lead elsewhere.
  const service = await origin((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "/", "http://x");
    const json = (body: unknown) =>
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
    const user = { id: 1, email: "a@example.com", role: "user" };
    const tokens = { access_token: "the-token", token_type: "bearer", expires_in: 3600, user };
    if (pathname === "/")
      response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><title>x</title>");
    else if (pathname === "/auth/login") json(tokens);
    else if (pathname === "/redirect")
      response.writeHead(Number(searchParams.get("status")), { location: searchParams.get("to") ?? "" }).end();
    else json({ path: pathname });
  });
  await page.goto(service.url);
  const files: Record<string, string> = { axios: AXIOS };
  await page.route("**/package/*", (route) => {
    const name = new URL(route.request().url()).pathname.split("/").pop() ?? "";
    return route.fulfill({ path: files[name] ?? resolve(CLIENT, name), contentType: "text/javascript" });
  });
  await page.addScriptTag({
    type: "importmap",
    content: JSON.stringify({ imports: { axios: "/package/axios" } }),
  });
  const kept = await page.evaluate(async (elsewhere) => {
    const [core, adapter, library] = ["/package/index.js", "/package/axios.js", "/package/axios"];
    const { createAuthClient } = (await import(core as string)) as typeof import("@josoor/auth");
    const { attachAuth } = await import(adapter as string);
    const { default: axios } = await import(library as string);
    const client = createAuthClient({ channel: "a6" });
    await client.login({ email: "a@example.com", password: "x" });
    const host = new URL(elsewhere).host;
    const addresses = [
      `${elsewhere}/plain`,
      `//${host}/relative`,
      `/\\${host}/backslash`,
      `\\\\${host}/backslashes`,
      `/\t/${host}/tab`,
      ...[301, 302, 303, 307, 308].map(
        (status) => `/redirect?status=${status}&to=${encodeURIComponent(`${elsewhere}/redirected`)}`,
      ),
    ];
    const instances = (["xhr", "fetch"] as const).map((name) => {
      const instance = axios.create({ adapter: name });
      attachAuth(instance, client);
      return instance;
    });
    for (const address of addresses) {
      for (const method of ["GET", "POST"]) {
        await client.fetch(address, { method }).catch(() => {});
        await client.request(method, address).catch(() => {});
        for (const instance of instances) await instance.request({ url: address, method }).catch(() => {});
      }
    }
    // A redirect within the origin is followed with the token.
    const within = "/redirect?status=307&to=%2Fend";
    const answers = [await client.fetch(within).then((answer) => answer.json())];
    for (const instance of instances.slice(0, 1)) answers.push((await instance.get(within)).data);
    return answers;
  }, evil.url);
  expect(kept).toEqual([{ path: "/end" }, { path: "/end" }]);
  expect(service.received.filter((line) => line === "GET /end Bearer the-token")).toHaveLength(2);
  expect(evil.received.length).toBeGreaterThan(20);
  expect(evil.received.filter((line) => !line.endsWith(" -"))).toEqual([]);
  await Promise.all([evil.stop(), service.stop()]);
});
