import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import AxeBuilder from "@axe-core/playwright";
import type { Page } from "@playwright/test";
import { expect, PASSWORD, test, withServer } from "./server";

const clean = async (page: Page) => expect((await new AxeBuilder({ page }).analyze()).violations).toEqual([]);

/** A tall logo and a wide one, in one colour each. */
const svg = (colour: string, width: number) =>
  `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} 60"><rect width="${width}" height="60" rx="8" fill="${colour}"/></svg>`;

test("a brand is on the sign-in, in the account and in the console, in both themes, and can be read", async ({
  browser,
  faults,
}) => {
  const folder = mkdtempSync(join(tmpdir(), "josoor-auth-brand-"));
  writeFileSync(join(folder, "logo.svg"), svg("#7a1f5c", 240));
  writeFileSync(join(folder, "dark.svg"), svg("#f3b6dd", 40));
  const setting = (name: string) => `JOSOOR_AUTH__BRANDING__${name}`;
  const env = {
    [setting("NAME_EN")]: "Acme",
    [setting("NAME_AR")]: "شركة أكمي للخدمات الرقمية والحلول المتكاملة في المملكة",
    [setting("LOGO")]: join(folder, "logo.svg"),
    [setting("LOGO_DARK")]: join(folder, "dark.svg"),
    [setting("ACCENT")]: "#7a5c00",
    [setting("SUPPORT_URL")]: "https://acme.example/help",
    [setting("TERMS_URL")]: "https://acme.example/terms",
  };
  try {
    await withServer(env, async (server) => {
      server.createUser("admin@example.com", "admin", "Huda Admin");
      for (const [language, scheme, theme] of [
        ["en", "light", "light"],
        ["ar", "dark", "dark"],
        // The theme that was chosen, against the system's.
        ["en", "light", "dark"],
      ] as const) {
        const context = await browser.newContext({ colorScheme: scheme, viewport: { width: 360, height: 740 } });
        await context.addCookies([{ name: "josoor_locale", value: language, url: server.url }]);
        const page = await context.newPage();
        page.on("pageerror", (error) => faults.push(error.message));
        if (theme !== scheme) await page.addInitScript(() => localStorage.setItem("josoor_theme", "dark"));
        await page.goto(`${server.url}/login`);
        const name = language === "en" ? "Acme" : "شركة أكمي";
        await expect(page).toHaveTitle(new RegExp(` · ${name}`));
        const logo = page.locator(".brand img:visible");
        await expect(logo).toHaveCount(1);
        await expect(logo).toHaveAttribute("src", theme === "light" ? /\/logo-[0-9a-f]+\.svg/ : /\/logo-dark-/);
        expect(await logo.evaluate((image: HTMLImageElement) => image.naturalWidth)).toBeGreaterThan(0);
        if (theme === "light")
          expect(
            await page.locator('form [type="submit"]').evaluate((one) => getComputedStyle(one).backgroundColor),
          ).toBe("rgb(122, 92, 0)");
        await expect(page.locator("footer a")).toHaveCount(2);
        await clean(page);
        await server.signIn(page, "admin@example.com", PASSWORD, `/login?lang=${language}&return_to=%2Faccount`);
        await expect(page.locator(".brand img:visible")).toHaveCount(1);
        await expect(page.locator("footer a")).toHaveCount(2);
        // The language is the user's own from here on.
        await expect(page).toHaveTitle(/ · Acme$/);
        expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360);
        await clean(page);
        await context.close();
      }
      const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
      await server.signIn(page, "admin@example.com", PASSWORD, "/login?return_to=%2Fconsole%2Fservice%2Fbranding");
      await expect(page.locator("iframe")).toHaveCount(6);
      for (const [frame, heading, theme] of [
        [0, "Sign in", "light"],
        [3, "تسجيل الدخول", "dark"],
      ] as const) {
        const inside = page.frameLocator("iframe").nth(frame);
        await expect(inside.getByRole("heading", { level: 1 })).toHaveText(heading);
        await expect(inside.locator("html")).toHaveAttribute("data-theme", theme);
        await expect(inside.locator(".brand img:visible")).toHaveCount(1);
      }
      await page.screenshot({ path: "../target/e2e/branding-preview.png", fullPage: true });
      await page.getByLabel("Show").selectOption({ label: "Email" });
      await expect(page.locator("iframe")).toHaveCount(4);
      await expect(
        page.frameLocator("iframe").first().getByRole("link", { name: "Open the account page" }),
      ).toBeVisible();
      await page.close();
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("changing the language keeps what was typed but for the password, also without JavaScript", async ({
  browser,
  server,
}) => {
  const email = server.newUser();
  for (const javaScriptEnabled of [true, false]) {
    const page = await browser.newPage({ javaScriptEnabled, locale: "en-GB" });
    await page.goto(`${server.url}/login?return_to=%2Fsigned-out`);
    await page.getByLabel("Email address").fill(email);
    await page.locator('input[name="password"]').fill("half a pass");
    await page.getByRole("button", { name: "العربية" }).click();
    await expect(page.locator("html")).toHaveAttribute("dir", "rtl");
    await expect(page.locator('input[name="email"]')).toHaveValue(email);
    await expect(page.locator('input[name="password"]')).toHaveValue("");
    await expect(page.getByRole("alert")).toHaveCount(0);
    // Enter submits the form, and not the button for the language, which stands before it.
    await page.locator('input[name="password"]').fill(PASSWORD);
    await page.locator('input[name="email"]').press("Enter");
    await expect(page).toHaveURL(`${server.url}/signed-out`);
    await page.close();
  }
});

test("an administrator replaces the signing key, and sees who has no second factor", async ({ page, server }) => {
  await server.signIn(page, server.adminEmail, PASSWORD, "/login?return_to=%2Fconsole%2Fservice");
  await expect(page.getByRole("row").filter({ hasText: "Signing" })).toHaveCount(1);
  await page.getByRole("button", { name: "Replace key" }).click();
  const dialog = page.getByRole("dialog");
  await expect(dialog).toContainText("signs in");
  await dialog.getByRole("button", { name: "Replace key" }).click();
  await expect(page.getByRole("status").filter({ hasText: "signs from" })).toBeVisible();
  await expect(page.getByRole("row").filter({ hasText: "Published" })).toHaveCount(1);
  // Another one waits already.
  await page.getByRole("button", { name: "Replace key" }).click();
  await dialog.getByRole("button", { name: "Replace key" }).click();
  await expect(dialog.getByRole("alert")).toContainText("The next key is already waiting");
  await dialog.getByRole("button", { name: "Cancel" }).click();

  const email = server.newUser();
  await page.goto(`${server.url}/console/users`);
  await page.getByRole("link", { name: "No two-step verification" }).click();
  await expect(page).toHaveURL(/mfa_enabled=false/);
  await page.getByRole("link", { name: email }).click();
  // What is not saved is not lost without a question.
  await page.getByLabel("Full name").fill("Noura");
  const questions: string[] = [];
  page.once("dialog", (dialog) => {
    questions.push(dialog.message());
    void dialog.dismiss();
  });
  await page.getByRole("link", { name: "Security" }).click();
  expect(questions).toEqual(["Leave without saving your changes?"]);
  await expect(page.getByLabel("Full name")).toHaveValue("Noura");
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByRole("status").filter({ hasText: "Saved." })).toBeVisible();
  await page.getByRole("link", { name: "Security" }).click();
  await expect(page.getByRole("region", { name: "Two-step verification" })).toContainText("Not set up.");
});
