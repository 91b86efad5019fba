import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { test as base, expect, type Page } from "@playwright/test";

const ROOT = resolve(import.meta.dirname, "../..");
const TARGET = process.env.CARGO_TARGET_DIR ?? join(ROOT, "target");
const BINARY = process.env.JOSOOR_AUTH_BIN ?? join(TARGET, "debug/josoor-auth");

export const PASSWORD = "a sentence that is long";

interface Mail {
  to: string;
  kind: string;
  subject: string;
  link: string | null;
  locale: string;
}

let given = process.pid * 127;

/** A port below those that systems take for outgoing connections, or one of them could sit on it before its listener does. */
async function freePort(): Promise<number> {
  const port = 10_000 + (given++ % 22_000);
  const isFree = await new Promise<boolean>((done) => {
    const probe = createServer();
    probe.once("error", () => done(false));
    probe.listen(port, "127.0.0.1", () => probe.close(() => done(true)));
  });
  return isFree ? port : freePort();
}

/** PostgreSQL and Redis of this worker's own. */
class Services {
  private constructor(
    private readonly child: ChildProcess,
    readonly databaseUrl: string,
    readonly redisUrl: string,
  ) {}

  static async start(): Promise<Services> {
    const child = spawn(join(TARGET, "python/bin/python"), [join(ROOT, "tests/python/services.py")], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const line = await new Promise<string>((done, fail) => {
      let text = "";
      child.stdout.on("data", (chunk) => {
        text += String(chunk);
        if (text.includes("\n")) done(text);
      });
      child.once("exit", (code) => fail(new Error(`the services ended: ${code}`)));
    });
    const { database_url, redis_url } = JSON.parse(line) as { database_url: string; redis_url: string };
    return new Services(child, database_url, redis_url);
  }

  async stop() {
    const ended = new Promise((done) => this.child.once("exit", done));
    this.child.stdin?.end();
    await ended;
  }
}

/** The service under test: the real binary, with a database of its own. */
export class Server {
  readonly adminEmail = "admin@example.com";
  private child: ChildProcess | undefined;
  private readonly directory = mkdtempSync(join(tmpdir(), "josoor-auth-e2e-"));
  private log = "";
  private numbers = 0;

  static freePort = freePort;

  constructor(
    readonly port: number,
    private readonly env: Record<string, string>,
  ) {}

  get url() {
    return `http://localhost:${this.port}`;
  }

  private get environment(): Record<string, string> {
    return {
      PATH: process.env.PATH ?? "/usr/bin:/bin",
      HOME: this.directory,
      DATABASE_URL: `sqlite://${this.directory}/josoor-auth.db`,
      PORT: String(this.port),
      PUBLIC_URL: this.url,
      JOSOOR_AUTH__PASSWORD__BCRYPT_COST: "4",
      JOSOOR_AUTH__LIMITS__ENABLED: "false",
      JOSOOR_AUTH__LOG__FORMAT: "text",
      ...this.env,
    };
  }

  async start() {
    this.child = spawn(BINARY, ["serve", "--dev"], {
      env: this.environment,
      cwd: this.directory,
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const stream of [this.child.stdout, this.child.stderr])
      stream?.on("data", (chunk) => (this.log += String(chunk)));
    for (let tries = 0; tries < 300; tries += 1) {
      const answer = await fetch(`http://127.0.0.1:${this.port}/readyz`).catch(() => null);
      if (answer?.ok) return;
      if (this.child.exitCode !== null) break;
      await new Promise((done) => setTimeout(done, 100));
    }
    throw new Error(`the server did not come up:\n${this.log.slice(-3000)}`);
  }

  /** As an operator stops it, or, with SIGKILL, as a machine that loses its power. */
  async stop(signal: NodeJS.Signals = "SIGTERM") {
    const { child } = this;
    if (!child || child.exitCode !== null) return;
    const ended = new Promise((done) => child.once("exit", done));
    child.kill(signal);
    await ended;
  }

  async end() {
    await this.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }

  command(args: string[], input = "") {
    const done = spawnSync(BINARY, args, {
      env: this.environment,
      cwd: this.directory,
      input: `${input}\n`,
      encoding: "utf8",
    });
    if (done.status !== 0) throw new Error(`${args.join(" ")}: ${done.stderr}`);
    return done.stdout;
  }

  createUser(email: string, role = "user", name = "") {
    this.command(
      ["user", "create", email, "--role", role, "--password-stdin", ...(name ? ["--name", name] : [])],
      PASSWORD,
    );
  }

  /** The one-time link of the first start; not on a terminal, so it is in a file. */
  setupLink(): string {
    const file = readdirSync(this.directory, { recursive: true })
      .map(String)
      .find((name) => /setup/.test(name));
    if (!file) throw new Error(`no link:\n${this.log}`);
    return readFileSync(join(this.directory, file), "utf8").trim();
  }

  /** An unused address. */
  newEmail(name = "user") {
    this.numbers += 1;
    return `${name}-${this.numbers}@example.com`;
  }

  /** A user of its own for one test. */
  newUser(role = "user", name = "") {
    const email = this.newEmail(role);
    this.createUser(email, role, name);
    return email;
  }

  /** A user whose address is verified. */
  async newOwner() {
    const email = this.newEmail("owner");
    const post = async (path: string, body: object, token = "") => {
      const headers = { "Content-Type": "application/json", ...(token ? { Authorization: `Bearer ${token}` } : {}) };
      const answer = await fetch(this.url + path, { method: "POST", headers, body: JSON.stringify(body) });
      if (!answer.ok) throw new Error(`${path}: ${await answer.text()}`);
      return (await answer.json()) as { access_token: string };
    };
    const { access_token } = await post("/auth/register", { email, password: PASSWORD });
    const { link } = await this.mail(email, "verify_email");
    await post("/auth/email/verify", { token: link?.split("token=")[1] }, access_token);
    return email;
  }

  /** The newest mail to an address, once it is there. */
  async mail(to: string, kind?: string): Promise<Mail> {
    for (let tries = 0; tries < 100; tries += 1) {
      const { items } = (await (await fetch(`${this.url}/dev/mail.json`)).json()) as { items: Mail[] };
      const found = items.find((mail) => mail.to === to && (!kind || mail.kind === kind));
      if (found) return found;
      await new Promise((done) => setTimeout(done, 100));
    }
    throw new Error(`no mail to ${to}`);
  }

  async signIn(page: Page, email: string, password = PASSWORD, path = "/login") {
    await page.goto(this.url + path);
    await page.locator('input[name="email"]').fill(email);
    await page.locator('input[name="password"]').fill(password);
    await page.locator('form button[type="submit"]').click();
    await expect(page).not.toHaveURL(/\/login/);
    await expect(page.locator("main h1")).toBeVisible();
  }
}

export const test = base.extend<{ faults: string[] }, { server: Server; services: Services | null }>({
  services: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright reads which fixtures are wanted from the pattern
    async ({}, use, info) => {
      const services = info.project.metadata.footprint === "postgres_redis" ? await Services.start() : null;
      await use(services);
      await services?.stop();
    },
    { scope: "worker", timeout: 60_000 },
  ],
  server: [
    async ({ services }, use) => {
      const env: Record<string, string> = services
        ? { DATABASE_URL: services.databaseUrl, REDIS_URL: services.redisUrl }
        : {};
      if (services) env.MASTER_KEY = randomBytes(32).toString("base64");
      const server = new Server(await freePort(), env);
      await server.start();
      server.createUser(server.adminEmail, "admin", "Huda Admin");
      await use(server);
      await server.end();
    },
    { scope: "worker", timeout: 60_000 },
  ],
  /** Whatever a page throws, and whatever its policy stops, fails the test. */
  faults: [
    async ({ context }, use) => {
      const faults: string[] = [];
      const watch = (page: Page) => {
        page.on("pageerror", (error) => faults.push(error.message));
        page.on("console", (message) => {
          if (message.type() === "error" && !/Failed to load resource|net::ERR/.test(message.text()))
            faults.push(message.text());
        });
      };
      context.on("page", watch);
      await use(faults);
      expect(faults).toEqual([]);
    },
    { auto: true },
  ],
});

/** Opens the menu of the signed-in user. */
export async function openMenu(page: Page) {
  await page.locator(".menu-button").click();
  await expect(page.locator("#user-menu")).toBeVisible();
}

/** Slows the page's network down to 400 ms and 50 KB/s. The connection to the server is warm: it was opened before. */
export async function slowDown(page: Page, server: Server) {
  await page.goto(`${server.url}/healthz`);
  const session = await page.context().newCDPSession(page);
  await session.send("Network.enable");
  await session.send("Network.emulateNetworkConditions", {
    offline: false,
    latency: 400,
    downloadThroughput: 50_000,
    uploadThroughput: 50_000,
  });
  return session;
}

/** A server with settings of its own, for one test. */
export async function withServer(env: Record<string, string>, work: (server: Server) => Promise<void>) {
  const server = new Server(await freePort(), env);
  await server.start();
  try {
    await work(server);
  } finally {
    await server.end();
  }
}

export { expect };
