import { createServer, type IncomingMessage, type ServerResponse } from "node:http";

interface Account {
  id: number;
  email: string;
  password: string;
}

interface SessionState {
  account: Account;
  generation: number;
  supersededAt: number;
  revoked: string | null;
}

/** What is no JSON has no fields. */
function parsed(text: string): Record<string, string> {
  try {
    return JSON.parse(text) as Record<string, string>;
  } catch {
    return {};
  }
}

/** The service's rules about tokens in small: rotation with a grace, revocation with a reason, problem documents. */
export class Service {
  /** How often each path was asked for. */
  readonly asked: Record<string, number> = {};
  readonly headers: IncomingMessage["headers"][] = [];
  /** What was sent, one after the other. */
  readonly bodies: Record<string, unknown>[] = [];
  /** The code that finishes a sign-in. */
  code = "123456";
  /** How long an access token is good for, in seconds. */
  lifetime = 3600;
  /** Answers that are taken away before they arrive, by path. */
  readonly lose: Record<string, number> = {};
  /** Answers that keep the asker waiting, by path, in milliseconds. */
  readonly delay: Record<string, number> = {};
  /** Statuses that are answered instead, by path, one after the other. */
  readonly instead: Record<string, { status: number; body?: unknown; headers?: Record<string, string> }[]> = {};
  /** What every path answers instead, as a gateway in front of the service would. */
  everywhere: { status: number; body?: unknown; headers?: Record<string, string> } | null = null;
  /** Whether pages of every origin may read the answers. */
  cors = false;
  private readonly accounts: Account[] = [{ id: 1, email: "user@example.com", password: "right" }];
  private readonly sessions = new Map<string, SessionState>();
  private readonly dead = new Set<string>();
  private issued = 0;
  private server = createServer((request, response) => void this.answer(request, response));
  url = "";

  async start(port = 0): Promise<this> {
    this.server = createServer((request, response) => void this.answer(request, response));
    await new Promise<void>((done) => this.server.listen(port, "127.0.0.1", done));
    const address = this.server.address();
    this.url = `http://127.0.0.1:${address && typeof address === "object" ? address.port : 0}`;
    return this;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((done) => this.server.close(done));
  }

  count(path: string): number {
    return this.asked[path] ?? 0;
  }

  revoke(reason: string): void {
    for (const session of this.sessions.values()) session.revoked ??= reason;
  }

  /** Makes every access token that is out expire, as far as the service is concerned. */
  expireAll(): void {
    for (let number = 1; number <= this.issued; number += 1) this.dead.add(`access-${number}`);
  }

  private tokens(id: string, session: SessionState) {
    this.issued += 1;
    const { account } = session;
    return {
      access_token: `access-${this.issued}.${id}`,
      refresh_token: `refresh.${id}.${session.generation}`,
      token_type: "bearer",
      expires_in: this.lifetime,
      user: this.user(account),
    };
  }

  private user(account: Account) {
    const time = "2026-01-01T00:00:00Z";
    return {
      id: account.id,
      email: account.email,
      full_name: null,
      role: "user",
      is_active: true,
      email_verified: true,
      mfa_enabled: false,
      locale: "en",
      created_at: time,
      updated_at: time,
    };
  }

  private async answer(request: IncomingMessage, response: ServerResponse) {
    const path = new URL(request.url ?? "/", "http://x").pathname;
    if (this.cors) {
      response.setHeader("access-control-allow-origin", "*");
      response.setHeader("access-control-allow-headers", "authorization, content-type");
    }
    if (this.cors && request.method === "OPTIONS") return response.writeHead(204).end();
    this.asked[path] = this.count(path) + 1;
    this.headers.push(request.headers);
    let text = "";
    for await (const chunk of request) text += String(chunk);
    const body = parsed(text);
    this.bodies.push(body);
    const say = (status: number, value: unknown, headers: Record<string, string> = {}) => {
      if ((this.lose[path] ?? 0) > 0) {
        this.lose[path] = (this.lose[path] ?? 0) - 1;
        response.destroy();
        return;
      }
      const kind = status < 400 ? "application/json" : "application/problem+json";
      response
        .writeHead(status, { "content-type": kind, ...headers })
        .end(value === undefined ? "" : JSON.stringify(value));
    };
    const refuse = (status: number, code: string, more: object = {}, headers: Record<string, string> = {}) =>
      say(
        status,
        {
          type: `https://auth.example/errors/${code}`,
          title: code,
          status,
          detail: `about ${code}`,
          code,
          request_id: "r-1",
          ...more,
        },
        headers,
      );
    if (this.delay[path]) await new Promise((done) => setTimeout(done, this.delay[path]));
    const instead = this.instead[path]?.shift() ?? this.everywhere;
    if (instead) return say(instead.status, instead.body, instead.headers);
    if (path === "/auth/login") {
      const account = this.accounts.find(({ email, password }) => email === body.email && password === body.password);
      if (!account) return refuse(401, "invalid_credentials");
      const id = String(this.sessions.size + 1);
      const session = { account, generation: 0, supersededAt: 0, revoked: null };
      this.sessions.set(id, session);
      return say(200, this.tokens(id, session));
    }
    if (path === "/auth/login/mfa") {
      if (body.flow !== "flow-1") return refuse(400, "flow_expired");
      if (body.code !== this.code) return refuse(401, "mfa_code_invalid");
      const id = String(this.sessions.size + 1);
      const session = { account: this.accounts[0] as Account, generation: 0, supersededAt: 0, revoked: null };
      this.sessions.set(id, session);
      return say(200, this.tokens(id, session));
    }
    if (path === "/auth/login/code") return say(202, { flow: "mail-1", expires_in: 1800 });
    if (path === "/auth/login/code/verify") {
      if (body.flow !== "mail-1") return refuse(400, "flow_expired");
      if (body.code !== "12345678") return refuse(401, "mail_code_invalid");
      const id = String(this.sessions.size + 1);
      const session = { account: this.accounts[0] as Account, generation: 0, supersededAt: 0, revoked: null };
      this.sessions.set(id, session);
      return say(200, this.tokens(id, session));
    }
    if (path === "/auth/register") {
      this.accounts.push({ id: this.accounts.length + 1, email: body.email ?? "", password: body.password ?? "" });
      const account = this.accounts[this.accounts.length - 1] as Account;
      const id = String(this.sessions.size + 1);
      const session = { account, generation: 0, supersededAt: 0, revoked: null };
      this.sessions.set(id, session);
      return say(201, this.tokens(id, session));
    }
    if (path === "/auth/refresh") {
      const [, id = "", generation = ""] = (body.refresh_token ?? "").split(".");
      const session = this.sessions.get(id);
      if (!body.refresh_token) return refuse(403, "missing_token");
      if (!session) return refuse(401, "token_invalid");
      if (session.revoked) return refuse(401, session.revoked);
      if (Number(generation) === session.generation) {
        session.generation += 1;
        session.supersededAt = performance.now();
      } else if (performance.now() - session.supersededAt > 30_000) {
        session.revoked = "session_revoked";
        return refuse(401, "refresh_token_reused");
      }
      return say(200, this.tokens(id, session));
    }
    if (path === "/auth/logout") {
      const session = this.sessions.get((body.refresh_token ?? "").split(".")[1] ?? "");
      if (session) session.revoked = "session_revoked";
      return say(200, { success: true, message: "", timestamp: "" });
    }
    if (path === "/healthz") return say(200, {});
    const [access = "", id = ""] = (request.headers.authorization ?? "").replace("Bearer ", "").split(".");
    const session = this.sessions.get(id);
    if (!access) return refuse(403, "missing_token");
    if (!session) return refuse(401, "token_invalid");
    if (session.revoked) return refuse(401, session.revoked);
    if (this.dead.has(access)) return refuse(401, "token_expired");
    if (path === "/auth/me") return say(200, this.user(session.account));
    if (path === "/auth/step-up") {
      if (body.code !== "123456") return refuse(401, "mfa_code_invalid");
      const { refresh_token: _, ...tokens } = this.tokens(id, session);
      return say(200, tokens);
    }
    if (path.startsWith("/auth/sessions")) {
      const live = [...this.sessions].filter(([, { revoked }]) => revoked === null);
      if (request.method === "GET") {
        const time = "2026-01-01T00:00:00Z";
        const items = live.map(([number]) => ({
          ...{ id: number, created_at: time, last_seen_at: time, expires_at: time, ip: "", user_agent: "" },
          ...{ device: "Firefox on Linux", current: number === id },
        }));
        return say(200, { items, total: items.length, total_is_capped: false, page: 1, page_size: 100 });
      }
      if (path === "/auth/sessions") {
        const others = live.filter(([number]) => number !== id);
        for (const [, one] of others) one.revoked = "session_revoked";
        return say(200, { revoked: others.length });
      }
      const ended = live.filter(([number]) => path === `/auth/sessions/${number}`);
      for (const [, one] of ended) one.revoked = "session_revoked";
      return ended.length === 1 ? say(204, undefined) : refuse(404, "not_found");
    }
    if (path === "/auth/password/change")
      return body.current_password === "right"
        ? say(200, this.tokens(id, session))
        : refuse(401, "invalid_credentials");
    return say(200, { path, echo: body });
  }
}
