import { spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { cpSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import AxeBuilder from "@axe-core/playwright";
import { build, preview } from "vite";
import { expect, PASSWORD, Server, test, withServer } from "./server";

const ROOT = resolve(import.meta.dirname, "../..");

const EXAMPLE = join(ROOT, "examples/react-fastapi");
const PYTHON = join(process.env.CARGO_TARGET_DIR ?? join(ROOT, "target"), "python/bin/python");

/** The example's back end. */
async function startApi(service: string, secret: string) {
  const port = await Server.freePort();
  const child = spawn(PYTHON, ["-m", "uvicorn", "main:app", "--port", String(port), "--log-level", "warning"], {
    cwd: join(EXAMPLE, "api"),
    env: { PATH: process.env.PATH, PYTHONDONTWRITEBYTECODE: "1", JOSOOR_AUTH_URL: service, JWT_SECRET: secret },
    stdio: ["ignore", "ignore", "inherit"],
  });
  const url = `http://127.0.0.1:${port}`;
  await expect
    .poll(
      () =>
        fetch(`${url}/docs`).then(
          (answer) => answer.ok,
          () => false,
        ),
      { timeout: 30_000 },
    )
    .toBe(true);
  return { url, stop: () => child.kill() };
}

test("the example of React and FastAPI signs in and asks its back end", async ({ page, faults }) => {
  const app = mkdtempSync(join(tmpdir(), "josoor-auth-guide-"));
  const port = await Server.freePort();
  const secret = randomBytes(32).toString("hex");
  await withServer({ CORS_ORIGINS: `http://localhost:${port}`, JWT_SECRET: secret }, async (server) => {
    const api = await startApi(server.url, secret);
    try {
      const packed = spawnSync("npm", ["run", "--silent", "build", "--workspace", "packages/client"], {
        cwd: ROOT,
        encoding: "utf8",
      });
      expect(packed.status, packed.stderr).toBe(0);
      cpSync(join(EXAMPLE, "app"), app, { recursive: true, filter: (path) => !/node_modules|dist$/.test(path) });
      symlinkSync(join(ROOT, "node_modules"), join(app, "node_modules"));
      const compiled = spawnSync(join(ROOT, "node_modules/.bin/tsc"), [], { cwd: app, encoding: "utf8" });
      expect(compiled.stdout).toBe("");
      process.env.VITE_AUTH_URL = server.url;
      await build({ root: app, logLevel: "warn", configFile: false });
      const running = await preview({
        root: app,
        logLevel: "warn",
        configFile: false,
        preview: { port, strictPort: true, proxy: { "/api": api.url } },
      });
      try {
        server.createUser("sara@example.com");
        await page.goto(`http://localhost:${port}/`);
        await expect(page).toHaveURL(/\/login\?return_to=/);
        await page.getByLabel("Email address").fill("sara@example.com");
        await page.getByLabel("Password", { exact: true }).fill("wrong");
        await page.getByRole("button", { name: "Sign in" }).click();
        await expect(page.getByRole("alert")).toContainText("do not match");
        await expect(page.getByRole("alert")).toBeFocused();
        await expect(page.getByLabel("Password", { exact: true })).toHaveValue("");
        await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
        await page.getByRole("button", { name: "Sign in" }).click();
        await expect(page.getByRole("heading", { name: "Hello, sara@example.com" })).toBeVisible();
        // The session is in a cookie, so it outlives the page.
        await page.reload();
        await expect(page.getByRole("heading", { name: "Hello, sara@example.com" })).toBeVisible();
        await expect(page.getByText("This device")).toBeVisible();
        // The back end verifies the token, and knows the role.
        await expect(page.getByText(/"role":"user"/)).toBeVisible();
        await expect(page.getByText("Your role does not allow this.")).toBeVisible();
        for (const scheme of ["light", "dark"] as const) {
          await page.emulateMedia({ colorScheme: scheme });
          expect((await new AxeBuilder({ page }).analyze()).violations).toEqual([]);
        }
        await page.getByRole("button", { name: /^Account of/ }).click();
        await page.getByRole("button", { name: "Sign out", exact: true }).click();
        await expect(page).toHaveURL(/\/login/);

        // In Arabic, on a phone: from right to left, and nothing beside the screen.
        await page.setViewportSize({ width: 320, height: 640 });
        await page.addInitScript(() =>
          document.addEventListener("readystatechange", () => {
            document.documentElement.lang = "ar";
            document.documentElement.dir = "rtl";
          }),
        );
        await page.goto(`http://localhost:${port}/register`);
        await page.getByLabel("البريد الإلكتروني").fill("noura@example.com");
        await page.getByLabel("أنشئ كلمة مرور", { exact: true }).fill("password");
        await page.getByRole("button", { name: "إنشاء الحساب" }).click();
        await expect(page.getByRole("alert")).toContainText("شائعة جدًا");
        expect((await new AxeBuilder({ page }).analyze()).violations).toEqual([]);
        expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(320);
        await page.getByLabel("أنشئ كلمة مرور", { exact: true }).fill(PASSWORD);
        await page.getByRole("button", { name: "إنشاء الحساب" }).click();
        await expect(page.getByRole("heading", { name: "Hello, noura@example.com" })).toBeVisible();
        expect(faults).toEqual([]);
      } finally {
        await running.close();
      }
    } finally {
      api.stop();
      delete process.env.VITE_AUTH_URL;
      rmSync(app, { recursive: true, force: true });
    }
  });
});
