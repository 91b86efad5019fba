import { mkdirSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { chromium, type Page } from "@playwright/test";
import { POINTS } from "./checklist";
import { PAGES } from "./pages";
import { expect, PASSWORD, slowDown, test, withServer } from "./server";

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
    const context = await browser.newContext({ colorScheme: "light", viewport: { width: 560, height: 780 } });
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
    const both = await browser.newPage({ viewport: { width: 1140, height: 780 } });
    await both.setContent(
      `<body style="margin:0;display:flex;gap:20px;background:#fff">${halves
        .map((half) => `<img src="data:image/png;base64,${half}" width="560" height="780">`)
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
    // Of a service that is in use: its first steps are done.
    await console.addInitScript(() => localStorage.setItem("josoor_first_steps_hidden", "1"));
    await console.route("**/admin/stats*", async (route) => {
      const response = await route.fetch();
      const stats = await response.json();
      Object.assign(stats.users, {
        total: 432,
        inactive: 7,
        unverified: 12,
        invited: 5,
        admins: 3,
        admins_without_factor: 0,
      });
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

/** When the film strip has its pictures, in milliseconds after the address was entered. */
const STRIP = [250, 500, 750, 1000, 1500, 2000];

test("the film strip of the sign-in on a slow network", async ({ server, page }, info) => {
  const folder = resolve(import.meta.dirname, "../../target/e2e/film-strip");
  mkdirSync(folder, { recursive: true });
  // A browser of its own: nothing is in its cache.
  const browser = await chromium.launch(info.project.use.launchOptions);
  const shots: string[] = [];
  try {
    const slow = await browser.newPage({ viewport: { width: 390, height: 700 } });
    const session = await slowDown(slow, server);
    const start = performance.now();
    const opened = slow.goto(`${server.url}/login`);
    for (const at of STRIP) {
      await new Promise((done) => setTimeout(done, start + at - performance.now()));
      // Not Playwright's own, which waits for the typeface.
      shots.push((await session.send("Page.captureScreenshot")).data);
    }
    await opened;
    await expect(slow.locator('input[name="password"]')).toBeVisible();
  } finally {
    await browser.close();
  }
  await page.setViewportSize({ width: STRIP.length * 210, height: 420 });
  await page.setContent(
    `<body style="margin:0;display:flex;background:#fff;font:14px sans-serif">${shots
      .map(
        (shot, at) =>
          `<figure style="margin:5px"><figcaption>${STRIP[at]} ms</figcaption><img src="data:image/png;base64,${shot}" width="200"></figure>`,
      )
      .join("")}</body>`,
  );
  await page.locator("img").last().waitFor();
  await page.screenshot({ path: resolve(folder, "sign-in.png") });
  expect(new Set(shots).size, "the page appears while the pictures are taken").toBeGreaterThan(1);
});

test("each point of the checklist names pictures that are made", () => {
  const made = new Set(PAGES.map(([name]) => name));
  const lines = POINTS.map(([point, answer, pictures]) => {
    for (const picture of pictures) expect(made, `${point}: ${picture}`).toContain(picture);
    const links = pictures.map((picture) => `[${picture}](screenshots/${picture}.en.light.png)`).join(", ");
    return `| ${point} | ${answer} | ${links || "no picture: a test"} |`;
  });
  expect(lines.length).toBeGreaterThan(30);
  const folder = resolve(import.meta.dirname, "../../target/e2e");
  mkdirSync(folder, { recursive: true });
  const head = "# Pages checklist\n\n| Point | Answer | Pictures |\n|---|---|---|\n";
  writeFileSync(resolve(folder, "checklist.md"), `${head}${lines.join("\n")}\n`);
});
