import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import AxeBuilder from "@axe-core/playwright";
import { build, preview } from "vite";
import { expect, PASSWORD, Server, test, withServer } from "./server";

const ROOT = resolve(import.meta.dirname, "../..");

/** The file of this name in a guide, with the ports of this test. */
const fileOf = (guide: string, name: string, ports: Record<string, number>) => {
  const text = readFileSync(join(ROOT, "docs/guides", guide), "utf8");
  const found = text.match(new RegExp(`<!-- file: ${name} -->\\n\`\`\`\\w+\\n([\\s\\S]*?)\\n\`\`\``));
  if (!found?.[1]) throw new Error(`${guide} has no ${name}`);
  return found[1].replace(/localhost:(\d+)/g, (_, port) => `localhost:${ports[port] ?? port}`);
};

test("the application of the React guide protects its page", async ({ page, faults }) => {
  const app = mkdtempSync(join(tmpdir(), "josoor-auth-guide-"));
  const port = await Server.freePort();
  await withServer({ CORS_ORIGINS: `http://localhost:${port}` }, async (server) => {
    try {
      const packed = spawnSync("npm", ["run", "--silent", "build", "--workspace", "packages/client"], {
        cwd: ROOT,
        encoding: "utf8",
      });
      expect(packed.status, packed.stderr).toBe(0);
      // As Vite's template for React has it, with the packages of this repository.
      mkdirSync(join(app, "src"));
      symlinkSync(join(ROOT, "node_modules"), join(app, "node_modules"));
      writeFileSync(join(app, "package.json"), '{ "private": true, "type": "module" }');
      writeFileSync(
        join(app, "index.html"),
        '<!doctype html><html lang="en"><head><title>app</title></head><body><div id="root"></div><script type="module" src="/src/main.tsx"></script></body></html>',
      );
      writeFileSync(join(app, "src/main.tsx"), fileOf("react.md", "main.tsx", { 8000: server.port }));
      const compiled = spawnSync(
        join(ROOT, "node_modules/.bin/tsc"),
        [
          ...["--noEmit", "--strict", "--jsx", "react-jsx", "--module", "esnext", "--moduleResolution", "bundler"],
          ...["--target", "es2022", "--lib", "es2023,dom,dom.iterable", "--types", "react", "src/main.tsx"],
        ],
        { cwd: app, encoding: "utf8" },
      );
      expect(compiled.stdout).toBe("");
      await build({ root: app, logLevel: "warn", configFile: false });
      const running = await preview({
        root: app,
        logLevel: "warn",
        configFile: false,
        preview: { port, strictPort: true },
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
      rmSync(app, { recursive: true, force: true });
    }
  });
});
