import { createServer } from "node:http";

/** Another origin: takes whatever is sent to it, and remembers every byte. */
export class Recorder {
  readonly received: string[] = [];
  /** What is answered: the status and, for a redirect, where to. */
  answer: { status: number; headers?: Record<string, string>; body?: string } = { status: 200 };
  private readonly server = createServer(async (request, response) => {
    let text = `${request.method} ${request.url}\n${JSON.stringify(request.headers)}\n`;
    for await (const chunk of request) text += String(chunk);
    this.received.push(text);
    response
      .writeHead(this.answer.status, {
        "access-control-allow-origin": request.headers.origin ?? "*",
        "access-control-allow-headers": "authorization, content-type, accept-language",
        "access-control-allow-methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
        "access-control-allow-credentials": "true",
        "content-type": "application/json",
        ...this.answer.headers,
      })
      .end(this.answer.body ?? "{}");
  });
  url = "";

  async start(port = 0, address = "127.0.0.1"): Promise<this> {
    await new Promise<void>((done, fail) => {
      this.server.once("error", fail);
      this.server.listen(port, address, done);
    });
    const bound = this.server.address();
    this.url = `http://${address}:${bound && typeof bound === "object" ? bound.port : 0}`;
    return this;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((done) => this.server.close(done));
  }

  /** Whether anything that was received holds a token, a password or the code of a link. */
  get hasSecret(): boolean {
    return this.received.some((text) => /access-\d|refresh\.\d|bearer|secret-/i.test(text));
  }
}

/** `fetch` as browsers were before 2023: a redirect to any origin takes all headers and the body along. */
export const oldFetch: typeof fetch = async (input, init) => {
  let request = new Request(input, init);
  if (request.redirect !== "follow") return fetch(request);
  const body = request.body ? await request.clone().arrayBuffer() : null;
  for (let hops = 0; ; hops += 1) {
    const { method, headers } = request;
    const answer = await fetch(new Request(request, { redirect: "manual" }));
    const location = answer.headers.get("location");
    if (!location || hops > 5) {
      // As a browser says it of an answer that came by a redirect.
      Object.defineProperty(answer, "redirected", { value: hops > 0 });
      return answer;
    }
    const keepsBody = body && (answer.status === 307 || answer.status === 308);
    request = new Request(new URL(location, answer.url), {
      method: keepsBody || !body ? method : "GET",
      headers,
      body: keepsBody ? body : null,
    });
  }
};
