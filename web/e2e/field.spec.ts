import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { chromium, type Page } from "@playwright/test";
import { expect, openMenu, PASSWORD, test, withServer } from "./server";

const fillSignIn = async (page: Page, email: string, password: string) => {
  await page.locator('input[name="email"]').fill(email);
  await page.locator('input[name="password"]').fill(password);
  await page.locator('form button[type="submit"]').click();
};

/** What a translator of a browser does with a page: each text moves into elements of the translator's own. */
const translate = (page: Page) =>
  page.evaluate(() => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const texts: Text[] = [];
    while (walker.nextNode()) texts.push(walker.currentNode as Text);
    for (const text of texts) {
      if (!text.data.trim() || text.parentElement?.closest("script, style, font")) continue;
      const [outer, inner] = [document.createElement("font"), document.createElement("font")];
      text.replaceWith(outer);
      outer.append(inner);
      inner.append(text);
    }
  });

test("d3: a page that the browser translates goes on working", async ({ page, server }) => {
  const email = server.newUser();
  await page.goto(`${server.url}/login`);
  await page.locator('input[name="email"]').waitFor();
  await translate(page);
  await fillSignIn(page, email, "wrong");
  await expect(page.getByRole("alert")).toContainText("do not match");
  await translate(page);
  await fillSignIn(page, email, PASSWORD);
  await expect(page.getByRole("heading", { level: 1, name: "Profile" })).toBeVisible();
  await translate(page);
  await page.getByRole("link", { name: "Sessions" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "Sessions" })).toBeVisible();
  await openMenu(page);
  await page.getByRole("button", { name: "العربية" }).click();
  await expect(page.locator("html")).toHaveAttribute("dir", "rtl");
  await page.locator("button", { hasText: "تسجيل الخروج" }).first().click();
  await expect(page).toHaveURL(/\/signed-out/);
  await expect(page.locator("main h1")).toBeVisible();
});

test.describe("d13, a2: a part of the page that cannot be loaded", () => {
  // React reports what it catches to the console.
  test.afterEach(({ faults }) => {
    faults.splice(
      0,
      faults.length,
      ...faults.filter((fault) => !/dynamically imported module|error occurred/.test(fault)),
    );
  });

  test.beforeEach(async ({ page, server }) => {
    await server.signIn(page, server.adminEmail, PASSWORD, "/login?return_to=%2Faccount");
    await expect(page.getByRole("heading", { level: 1, name: "Profile" })).toBeVisible();
  });

  const openConsole = async (page: Page) => {
    await openMenu(page);
    await page.locator("#user-menu").getByRole("link", { name: "Console" }).click();
  };

  test("after an upgrade is loaded with the new page, by one reload", async ({ page }) => {
    let isNew = false;
    await page.route("**/assets/console-*.js", (route) => (isNew ? route.continue() : route.fulfill({ status: 404 })));
    page.on("load", () => {
      isNew = true;
    });
    await openConsole(page);
    await expect(page.getByRole("heading", { level: 1, name: "Overview" })).toBeVisible();
  });

  test("is said in words when it stays away, and Back works", async ({ page }) => {
    await page.route("**/assets/console-*.js", (route) => route.fulfill({ status: 404 }));
    let loads = 0;
    page.on("load", () => {
      loads += 1;
    });
    await openConsole(page);
    await expect(page.getByRole("alert")).toContainText("Something went wrong");
    await expect(page.getByRole("banner")).toBeVisible();
    expect(loads).toBe(1);
    await page.goBack();
    await expect(page.getByRole("heading", { level: 1, name: "Profile" })).toBeVisible();
    await page.unroute("**/assets/console-*.js");
    await page.goForward();
    await page.getByRole("button", { name: "Try again now" }).click();
    await expect(page.getByRole("heading", { level: 1, name: "Overview" })).toBeVisible();
  });

  test("offline comes by itself once the network is back", async ({ page, context }) => {
    await context.setOffline(true);
    await openConsole(page);
    await expect(page.getByRole("alert")).toContainText("This device is offline");
    await context.setOffline(false);
    await expect(page.getByRole("heading", { level: 1, name: "Overview" })).toBeVisible();
  });

  test("is said in the page itself when no program comes at all", async ({ page, server }) => {
    await page.route("**/*.js", (route) => route.abort());
    await page.goto(`${server.url}/account`);
    await expect(page.getByText("This page could not be loaded")).toHaveCSS("opacity", "1", { timeout: 15_000 });
  });
});

test("d23: cookies that the browser blocks are named at the sign-in", async ({ server }, info) => {
  const email = server.newUser();
  const profile = mkdtempSync(join(tmpdir(), "josoor-auth-profile-"));
  // The browser's own setting "block all site data".
  mkdirSync(join(profile, "Default"));
  writeFileSync(
    join(profile, "Default/Preferences"),
    JSON.stringify({ profile: { default_content_setting_values: { cookies: 2 } } }),
  );
  const context = await chromium.launchPersistentContext(profile, info.project.use.launchOptions);
  try {
    for (const [path, words] of [
      ["/login?lang=en", "blocks cookies"],
      ["/login?lang=ar", "ملفات تعريف الارتباط"],
    ] as const) {
      const page = await context.newPage();
      await page.setExtraHTTPHeaders({ "Accept-Language": path.slice(-2) });
      await page.goto(server.url + path);
      await fillSignIn(page, email, PASSWORD);
      await expect(page.getByRole("alert")).toContainText(words);
      await expect(page).toHaveURL(/\/login/);
    }
  } finally {
    await context.close();
    rmSync(profile, { recursive: true, force: true });
  }
});

test("a4: a page whose origin the service does not list learns so; one that it lists signs in", async ({
  page,
  faults,
}) => {
  const client = resolve(import.meta.dirname, "../../packages/client/dist");
  const pages = createServer((_, response) =>
    response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html>"),
  );
  await new Promise<void>((done) => pages.listen(0, "127.0.0.1", done));
  const origin = `http://localhost:${(pages.address() as AddressInfo).port}`;
  await page.route("**/package/*", (route) =>
    route.fulfill({ path: join(client, new URL(route.request().url()).pathname.split("/").pop() ?? "") }),
  );
  const signIn = (baseUrl: string, email: string, password: string) =>
    page.evaluate(
      async ([baseUrl, email, password]) => {
        const address = "/package/index.js";
        const { createAuthClient } = (await import(address)) as typeof import("@josoor/auth");
        const client = createAuthClient({ baseUrl, storage: "memory", channel: baseUrl });
        return client.login({ email, password }).then(
          (user) => ({ email: user.email, state: client.state.status }),
          ({ code, detail }) => ({ code, detail, state: client.state.status }),
        );
      },
      [baseUrl, email, password] as [string, string, string],
    );
  try {
    const detail = expect.stringContaining("CORS_ORIGINS");
    await withServer({}, async (server) => {
      await page.goto(origin);
      expect(await signIn(server.url, "cors@example.com", PASSWORD)).toMatchObject({ detail, state: "loading" });
      // Where other origins may see that it is there, it is certain.
      const front = createServer(async (request, response) => {
        const answer = await fetch(server.url + request.url, { method: request.method ?? "GET" });
        response.writeHead(answer.status, { "cross-origin-resource-policy": "cross-origin" }).end(await answer.text());
      });
      await new Promise<void>((done) => front.listen(0, "127.0.0.1", done));
      const place = `http://127.0.0.1:${(front.address() as AddressInfo).port}`;
      const answer = await signIn(place, "cors@example.com", PASSWORD);
      front.close();
      front.closeAllConnections();
      expect(answer).toMatchObject({ code: "cors_blocked", detail, state: "loading" });
    });
    await withServer({ CORS_ORIGINS: origin }, async (server) => {
      server.createUser("cors@example.com");
      await page.goto(origin);
      const signedIn = { email: "cors@example.com", state: "signed-in" };
      expect(await signIn(server.url, "cors@example.com", PASSWORD)).toEqual(signedIn);
    });
    // Away is another matter.
    expect(await signIn("http://127.0.0.1:9", "cors@example.com", PASSWORD)).toMatchObject({
      code: "server_unavailable",
    });
  } finally {
    // The browser's own words for it.
    faults.splice(0, faults.length, ...faults.filter((fault) => !/blocked by CORS policy/.test(fault)));
    pages.close();
    pages.closeAllConnections();
  }
});

test("a1: a change of many users leaves one's own account out, and reaches all others", async ({ page }) => {
  await withServer({}, async (server) => {
    server.createUser("harbi-admin@example.com", "admin");
    server.createUser("other-admin@example.com", "admin");
    for (let number = 1; number <= 4; number += 1) server.createUser(`harbi-${number}@example.com`);
    await server.signIn(page, "harbi-admin@example.com", PASSWORD, "/login?return_to=%2Fconsole%2Fusers%3Fq%3Dharbi");
    for (const [button, state] of [
      ["Deactivate", "Deactivated"],
      [/^Change role to .Analyst/, "Analyst"],
    ] as const) {
      await page.getByLabel("Select everyone on this page").check();
      await page.getByRole("button", { name: button, exact: typeof button === "string" }).click();
      const dialog = page.getByRole("dialog");
      await expect(dialog.getByText("Your own account isn't changed")).toBeVisible();
      await expect(dialog.getByRole("row", { name: /harbi-admin/ })).toContainText("No change");
      await dialog.getByRole("button", { name: /^(Change|Deactivate) \W*\d+\W* users$/ }).click();
      await expect(page.getByRole("status").filter({ hasText: /4\W* users changed/ })).toBeVisible();
      await expect(dialog).toHaveCount(0);
      await expect(page.locator("tbody tr").filter({ hasText: state })).toHaveCount(4);
    }
    await expect(page).toHaveURL(/\/console\/users/);
    await expect(page.getByRole("row", { name: /harbi-admin/ })).toContainText("Administrator");
  });
});

test("a3: users who sign in on several days are not summed", async ({ page, server }) => {
  await page.route("**/admin/stats*", async (route) => {
    const response = await route.fetch();
    const stats = await response.json();
    for (const day of stats.days) Object.assign(day, { active_users: 31, new_users: 2 });
    await route.fulfill({ response, json: stats });
  });
  await server.signIn(page, server.adminEmail, PASSWORD, "/login?return_to=%2Fconsole");
  const figure = (name: string) =>
    page.getByRole("figure").filter({ has: page.getByRole("heading", { name, exact: true }) });
  await expect(figure("People who signed in").locator(".legend")).toContainText(/31\W* a day on average/);
  await expect(figure("New users").locator(".legend")).toContainText("60");
});

test("a5: a wrong current password is said at its field", async ({ page, server }) => {
  await server.signIn(page, server.newUser(), PASSWORD, "/login?return_to=%2Faccount%2Fpassword");
  const expectAtField = async () => {
    const field = page.getByLabel("Current password", { exact: true });
    await expect(field).toHaveAttribute("aria-invalid", "true");
    await expect(page.locator(".field.wrong")).toHaveText(/^Current password.*This is not your current password\./);
    await expect(page.getByText("do not match")).toHaveCount(0);
  };
  await page.getByLabel("Current password", { exact: true }).fill("wrong");
  await page.getByLabel("New password", { exact: true }).fill("another sentence that is long");
  await page.getByRole("button", { name: "Change the password" }).click();
  await expectAtField();
  await page.getByRole("link", { name: "Email address" }).click();
  await page.getByLabel("New email address").fill("new@example.com");
  await page.getByLabel("Current password", { exact: true }).fill("wrong");
  await page.locator(".card").getByRole("button", { name: "Send the link" }).click();
  await expectAtField();
  await page.getByRole("link", { name: "Delete account" }).click();
  await page.getByRole("button", { name: "Delete my account…" }).click();
  await page.waitForTimeout(600);
  await page.getByLabel("Current password", { exact: true }).fill("wrong");
  await page.getByRole("button", { name: "Delete my account" }).click();
  await expectAtField();
});

test("a7: at the end of the session the page is cleared and the sign-in says why", async ({ page }) => {
  await withServer({ JOSOOR_AUTH__SESSION__IDLE: "8s", JOSOOR_AUTH__SESSION__ABSOLUTE: "8s" }, async (server) => {
    server.createUser("short@example.com");
    await server.signIn(page, "short@example.com");
    await expect(page.getByRole("dialog", { name: "Still there?" })).toBeVisible();
    await expect(page).toHaveURL(/\/login/, { timeout: 20_000 });
    await expect(page.getByText("You were away for a while")).toBeVisible();
    await expect(page.getByRole("dialog")).toHaveCount(0);
  });
});

test("a7: at the end of the session nothing of the page is shown while the service is away", async ({
  page,
  server,
}) => {
  await page.route("**/auth/sessions*", async (route) => {
    const response = await route.fetch();
    const list = await response.json();
    for (const session of list.items) session.expires_at = new Date(Date.now() + 4000).toISOString();
    await route.fulfill({ response, json: list });
  });
  await server.signIn(page, server.newUser());
  await expect(page.getByRole("dialog", { name: "Still there?" })).toBeVisible();
  await page.unroute("**/auth/sessions*");
  await page.route("**/auth/**", (route) => route.abort());
  const over = page.getByRole("dialog", { name: "Your session has ended" });
  await expect(over).toBeVisible();
  expect(await over.evaluate((dialog) => getComputedStyle(dialog, "::backdrop").backgroundColor)).toMatch(/^rgb\(/);
  // It had not: another tab, say, has extended it.
  await page.unroute("**/auth/**");
  await over.getByRole("button", { name: "Try again now" }).click();
  await expect(page.getByRole("dialog")).toHaveCount(0);
  await expect(page.getByRole("heading", { level: 1, name: "Profile" })).toBeVisible();
});

test("a8: a long address and a long name stay in their boxes on a small screen", async ({ page, server }) => {
  const email = `${"a-very-long-local-part".repeat(2)}@subdomain.example.com`;
  server.createUser(email, "user", "Abdulrahman bin Abdulaziz Al-Someone of a Long Name");
  await page.setViewportSize({ width: 320, height: 640 });
  await server.signIn(page, email);
  for (const path of ["/account", "/account/email", "/account/delete", "/account/sessions"]) {
    await page.goto(server.url + path);
    await page.locator("main .card").first().waitFor();
    expect(await page.evaluate(() => document.documentElement.scrollWidth), path).toBeLessThanOrEqual(320);
    const sticksOut = await page
      .locator("main .card p, main .notice p, main dd")
      .evaluateAll((all) => all.filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.textContent));
    expect(sticksOut, path).toEqual([]);
  }
  expect((await page.locator("header").boundingBox())?.height).toBeLessThanOrEqual(64);
  await openMenu(page);
  const menu = page.locator("#user-menu");
  await expect(menu).toContainText(email);
  expect(await menu.evaluate((element) => element.scrollWidth - element.clientWidth)).toBeLessThanOrEqual(0);
});

test("a9, a10: a dialog stands in the middle; red is for what cannot be taken back, solid only in the question", async ({
  page,
  server,
}) => {
  const email = server.newUser();
  await server.signIn(
    page,
    server.adminEmail,
    PASSWORD,
    `/login?return_to=${encodeURIComponent(`/console/users?q=${email}`)}`,
  );
  await page.getByRole("link", { name: email }).click();
  await page.getByRole("link", { name: "Security" }).click();
  const readColours = (name: string) =>
    page
      .getByRole("button", { name, exact: true })
      .last()
      .evaluate((button) => {
        const { color, backgroundColor } = getComputedStyle(button);
        const red = (value: string) => {
          const [r = 0, g = 0, b = 0, alpha = 1] = (value.match(/[\d.]+/g) ?? []).map(Number);
          return alpha > 0 && r > 120 && r > 2 * g && r > 2 * b;
        };
        return { isRed: red(color), isSolid: red(backgroundColor) };
      });
  for (const name of ["Deactivate", "Delete user"]) {
    expect(await readColours(name), name).toEqual({ isRed: true, isSolid: false });
    await page.getByRole("button", { name, exact: true }).click();
    expect(await readColours(name), `${name}, asked`).toEqual({ isRed: false, isSolid: true });
    const box = await page.getByRole("dialog").boundingBox();
    const height = page.viewportSize()?.height ?? 0;
    expect(Math.abs((box?.y ?? 0) - (height - (box?.y ?? 0) - (box?.height ?? 0))), name).toBeLessThan(4);
    await page.keyboard.press("Escape");
  }
});

test("a22: the sign-in can be used before the service has said whether there is a session, and offline says so", async ({
  page,
  context,
  server,
}) => {
  let answer = () => {};
  const isAnswered = new Promise<void>((done) => {
    answer = done;
  });
  await page.route("**/auth/pages/session*", async (route) => {
    await isAnswered;
    await route.continue();
  });
  const email = server.newUser();
  await page.goto(`${server.url}/login`);
  await page.locator('input[name="email"]').fill(email);
  await page.locator('input[name="password"]').fill(PASSWORD);
  answer();
  await context.setOffline(true);
  await page.locator('form button[type="submit"]').click();
  await expect(page.getByRole("alert")).toContainText("You're offline. Nothing changed.");
  await context.setOffline(false);
  await expect(page.locator('input[name="email"]')).toHaveValue(email);
  await page.locator('form button[type="submit"]').click();
  await expect(page.getByRole("heading", { level: 1, name: "Profile" })).toBeVisible();
});

test("b18, b19: a taken address leads to the sign-in, and what is corrected is wrong no longer", async ({
  page,
  server,
}) => {
  const email = server.newUser();
  await page.goto(`${server.url}/register`);
  await page.getByRole("button", { name: "Create account" }).click();
  await expect(page.getByText("Fill in this field.").first()).toBeVisible();
  await page.getByLabel("Email address").fill(email);
  await expect(page.getByRole("alert")).not.toContainText("Email address");
  await page.getByLabel("Create a password").fill(PASSWORD);
  await expect(page.getByRole("alert")).toHaveCount(0);
  await page.getByRole("button", { name: "Create account" }).click();
  const alert = page.getByRole("alert");
  await expect(alert).toContainText("An account with this email already exists");
  await expect(alert).not.toContainText("administrator");
  await expect(alert.getByRole("link", { name: "Forgot your password?" })).toBeVisible();
  await alert.getByRole("link", { name: "Sign in" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "Sign in" })).toBeVisible();
});

test("b15: pointing at a day of a chart reads it out", async ({ page, server }) => {
  await page.route("**/admin/stats*", async (route) => {
    const response = await route.fetch();
    const stats = await response.json();
    for (const [number, day] of stats.days.entries()) Object.assign(day, { sign_ins: number, failures: 3 });
    await route.fulfill({ response, json: stats });
  });
  // An administrator of its own, whose language this changes.
  await server.signIn(page, server.newUser("admin"), PASSWORD, "/login?return_to=%2Fconsole%3Fdays%3D7");
  const chart = page.getByRole("figure").filter({ has: page.getByRole("heading", { name: "Sign-ins", exact: true }) });
  // Seven days and the seven before them: 7 to 13, after 0 to 6.
  await expect(chart.locator(".legend")).toContainText(/Succeeded: 70\s+\W*\+233/);
  const plot = chart.locator(".plot .u-over");
  const { width = 0, height = 0 } = (await plot.boundingBox()) ?? {};
  await plot.hover({ position: { x: width - 3, y: height / 2 } });
  await expect(chart.locator(".legend")).toContainText("Succeeded: 13 Failed: 3");
  // In Arabic time runs the other way: the last day stands at the left.
  await openMenu(page);
  await page.getByRole("button", { name: "العربية" }).click();
  await expect(page.locator("html")).toHaveAttribute("dir", "rtl");
  await page.keyboard.press("Escape");
  const arabic = page.getByRole("figure").first();
  await arabic.locator(".plot .u-over").hover({ position: { x: 3, y: height / 2 } });
  await expect(arabic.locator(".legend")).toContainText(/: 13\D+: 3/);
  // The administrator is that of other tests, too.
  await openMenu(page);
  await page.getByRole("button", { name: "English" }).click();
  await expect(page.locator("html")).toHaveAttribute("dir", "ltr");
});
