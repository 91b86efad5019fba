import { mkdirSync } from "node:fs";
import { resolve } from "node:path";
import AxeBuilder from "@axe-core/playwright";
import type { Browser } from "@playwright/test";
import { PAGES } from "./pages";
import { expect, PASSWORD, type Server, test } from "./server";

const PICTURES = resolve(import.meta.dirname, "../../target/e2e/screenshots");
mkdirSync(PICTURES, { recursive: true });

async function prepare(
  browser: Browser,
  server: Server,
  language: "en" | "ar",
  theme: "light" | "dark",
  as: "visitor" | "user" | "admin",
  email: string,
) {
  const context = await browser.newContext({
    locale: language === "ar" ? "ar-SA" : "en-GB",
    colorScheme: theme,
    reducedMotion: "reduce",
    viewport: { width: 1280, height: 900 },
  });
  await context.addCookies([{ name: "josoor_locale", value: language, url: server.url }]);
  if (as !== "visitor") {
    const answer = await context.request.post(`${server.url}/auth/login`, {
      data: { email, password: PASSWORD, transport: "cookie" },
      headers: { Origin: server.url },
    });
    expect(answer.ok()).toBe(true);
    const { access_token } = (await answer.json()) as { access_token: string };
    await context.request.patch(`${server.url}/auth/me`, {
      data: { locale: language },
      headers: { Authorization: `Bearer ${access_token}` },
    });
  }
  return context;
}

for (const language of ["en", "ar"] as const) {
  for (const theme of ["light", "dark"] as const) {
    test(`no page breaks a rule of accessibility: ${language}, ${theme}`, async ({ browser, server }) => {
      test.setTimeout(300_000);
      const user = server.newUser("user", "ليلى Hassan");
      const emails = { visitor: "", user, admin: server.adminEmail };
      // A second session, so that there is one to end.
      await (await browser.newContext()).request.post(`${server.url}/auth/login`, {
        data: { email: user, password: PASSWORD },
      });
      for (const as of ["visitor", "user", "admin"] as const) {
        const context = await prepare(browser, server, language, theme, as, emails[as]);
        for (const [name, path, who, act] of PAGES) {
          if (who !== as) continue;
          const page = await context.newPage();
          await page.goto(server.url + (typeof path === "string" ? path : await path(server)));
          // A link is opened by itself.
          await expect(page.locator("[data-opening] .loading")).toHaveCount(0);
          await page.locator("main h1").first().waitFor();
          // Several sections may load at once.
          await expect(page.locator(".loading")).toHaveCount(0);
          await act?.(page);
          await expect(page.locator("html")).toHaveAttribute("dir", language === "ar" ? "rtl" : "ltr");
          await page.screenshot({ path: `${PICTURES}/${name}.${language}.${theme}.png`, fullPage: true });
          const { violations } = await new AxeBuilder({ page }).analyze();
          const said = violations.map(
            ({ id, nodes }) =>
              `${id}: ${nodes.map(({ html, failureSummary }) => `${html}\n${failureSummary}`).join("\n")}`,
          );
          expect(said, `${name}, ${language}, ${theme}`).toEqual([]);
          // Nothing sticks out, also on a small screen.
          await page.setViewportSize({ width: 320, height: 640 });
          if (process.env.PICTURES)
            await page.screenshot({ path: `${PICTURES}/${name}.${language}.${theme}.320.png`, fullPage: true });
          const overflow = await page.evaluate(
            () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
          );
          expect(overflow, `${name} on 320 px`).toBeLessThanOrEqual(0);
          // Every field says to password managers and browsers what it is for.
          for (const input of await page.locator("input[name]:not([type=checkbox], [type=hidden])").all()) {
            // `webauthn` besides: passkeys are offered there.
            const token = (await input.getAttribute("autocomplete"))?.replace(/ webauthn$/, "");
            if ((await input.getAttribute("type")) === "datetime-local") continue;
            expect(
              ["username", "email", "name", "off", "current-password", "new-password"],
              `${name}: ${await input.getAttribute("name")}`,
            ).toContain(token);
          }
          await page.close();
        }
        await context.close();
      }
    });
  }
}

test("on a phone the bar is low, and every list begins on the first screen", async ({ browser, server }) => {
  for (let number = 1; number <= 3; number += 1) server.newUser("user", "عبدالرحمن بن عبدالعزيز الغامدي");
  for (const language of ["en", "ar"] as const) {
    const context = await prepare(browser, server, language, "light", "admin", server.adminEmail);
    const page = await context.newPage();
    await page.setViewportSize({ width: 390, height: 844 });
    for (const path of ["/account/activity", "/console", "/console/users", "/console/audit"]) {
      await page.goto(server.url + path);
      await page.locator("main h1").waitFor();
      await expect(page.locator(".loading")).toHaveCount(0);
      expect((await page.locator("header:visible").boundingBox())?.height, path).toBeLessThanOrEqual(64);
      const first = page.locator("tbody tr, .cards > li, .tile").first();
      if ((await first.count()) === 0) continue;
      const { y = 0, height = 0 } = (await first.boundingBox()) ?? {};
      expect(y + height, `${path}, ${language}`).toBeLessThan(844);
      // Cards, and no table that is cut at the edge.
      for (const scroller of await page.locator(".scroll:visible").all())
        expect(
          await scroller.evaluate((element) => element.scrollWidth - element.clientWidth),
          path,
        ).toBeLessThanOrEqual(0);
    }
    // The current section is shown, wherever it stands in the line.
    await page.goto(`${server.url}/account/delete`);
    const current = page.locator(".side [aria-current]");
    await expect(current).toBeInViewport({ ratio: 0.9 });
    await context.close();
  }
});

test("forced colours show which section, range and person is chosen", async ({ browser, server }) => {
  const context = await prepare(browser, server, "en", "light", "admin", server.adminEmail);
  const page = await context.newPage();
  await page.emulateMedia({ forcedColors: "active" });
  await page.goto(`${server.url}/console`);
  await page.locator("main h1").waitFor();
  for (const chosen of [page.locator(".tabs [aria-current]"), page.locator('[aria-pressed="true"]').first()])
    expect(await chosen.evaluate((element) => getComputedStyle(element).outlineStyle)).toBe("solid");
  expect(
    await page
      .locator(".avatar")
      .first()
      .evaluate((element) => getComputedStyle(element).borderStyle),
  ).toBe("solid");
  await context.close();
});
