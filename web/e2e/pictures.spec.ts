import { mkdirSync } from "node:fs";
import { resolve } from "node:path";
import type { Page } from "@playwright/test";
import { expect, PASSWORD, test, withServer } from "./server";

/** Where the pictures of README go, with `PICTURES=1`; else beside those of the other tests. */
const FOLDER = resolve(import.meta.dirname, process.env.PICTURES ? "../../docs/images" : "../../target/e2e/pictures");

/** A month of a small platform, the same at every run. */
function fillStats(days: Record<string, unknown>[]) {
  for (const [number, day] of days.entries()) {
    const isWeekend = number % 7 > 4;
    const sign_ins = (isWeekend ? 9 : 24) + ((number * 7) % 11);
    Object.assign(day, {
      sign_ins,
      failures: (number * 5) % 4,
      new_users: 1 + ((number * 3) % 5),
      active_users: sign_ins - 4,
    });
  }
}

test("the pictures of README show the sign-in in both languages and the console", async ({ browser, page }) => {
  mkdirSync(FOLDER, { recursive: true });
  const save = (of: Page, name: string) => of.screenshot({ path: resolve(FOLDER, name), animations: "disabled" });
  await withServer({}, async (server) => {
    server.createUser("huda@example.com", "admin", "Huda Al-Salem");
    await page.goto(server.url);

    // Both languages side by side in one picture.
    const context = await browser.newContext({ colorScheme: "light", viewport: { width: 560, height: 640 } });
    const halves: string[] = [];
    for (const language of ["en", "ar"]) {
      await context.addCookies([{ name: "josoor_locale", value: language, url: server.url }]);
      const half = await context.newPage();
      await half.goto(`${server.url}/login`);
      await half.locator('input[name="email"]').fill(language === "en" ? "sara@example.com" : "noura@example.com");
      await half.locator('input[name="password"]').fill("12345678");
      await half.locator("h1").click();
      await expect(half.locator("html")).toHaveAttribute("lang", language);
      halves.push((await half.screenshot({ animations: "disabled" })).toString("base64"));
      await half.close();
    }
    await context.close();
    const both = await browser.newPage({ viewport: { width: 1140, height: 640 } });
    await both.setContent(
      `<body style="margin:0;display:flex;gap:20px;background:#fff">${halves
        .map((half) => `<img src="data:image/png;base64,${half}" width="560" height="640">`)
        .join("")}</body>`,
    );
    await both.locator("img").last().waitFor();
    await save(both, "sign-in.png");
    await both.close();

    const console = await browser.newPage({
      colorScheme: "light",
      locale: "en-GB",
      viewport: { width: 1140, height: 750 },
    });
    await console.route("**/admin/stats*", async (route) => {
      const response = await route.fetch();
      const stats = await response.json();
      Object.assign(stats.users, { total: 432, inactive: 7, unverified: 12, invited: 5, admins: 3 });
      stats.sessions.active = 128;
      fillStats(stats.days);
      await route.fulfill({ response, json: stats });
    });
    await server.signIn(console, "huda@example.com", PASSWORD, "/login?return_to=%2Fconsole");
    await expect(console.getByRole("figure")).toHaveCount(3);
    await console.mouse.move(0, 0);
    await save(console, "console.png");
    await console.close();
  });
});
