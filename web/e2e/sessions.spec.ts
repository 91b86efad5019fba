import { resolve } from "node:path";
import type { Page, Request } from "@playwright/test";
import { expect, openMenu, test } from "./server";

const PACKAGE = resolve(import.meta.dirname, "../../packages/client/dist");

/** What the page sends to an address, from now on. */
function requests(page: Page, path: string): Request[] {
  const seen: Request[] = [];
  page.on("request", (request) => {
    if (new URL(request.url()).pathname === path) seen.push(request);
  });
  return seen;
}

test("twenty requests with an expired token make one refresh", async ({ page, server }) => {
  await server.signIn(page, server.newUser());
  const refreshes = requests(page, "/auth/refresh");
  await page.exposeFunction("begin", () => void refreshes.splice(0));
  // The service says of the token that it has expired, until there is a newer one.
  const stale = new Set<string>();
  await page.route("**/auth/me", async (route) => {
    const header = route.request().headers().authorization ?? "";
    if (refreshes.length === 0) stale.add(header);
    if (!stale.has(header)) return route.continue();
    await route.fulfill({
      status: 401,
      contentType: "application/problem+json",
      body: JSON.stringify({
        type: "about:blank",
        title: "",
        status: 401,
        detail: "",
        code: "token_expired",
        request_id: "r",
      }),
    });
  });
  // The package as it is published, in the page.
  await page.route("**/package/*", (route) =>
    route.fulfill({ path: resolve(PACKAGE, new URL(route.request().url()).pathname.split("/").pop() ?? "") }),
  );
  const emails = await page.evaluate(async () => {
    const address = "/package/index.js";
    const { createAuthClient } = (await import(address)) as typeof import("@josoor/auth");
    const client = createAuthClient({ channel: "twenty" });
    await client.ready();
    await (window as unknown as { begin(): Promise<void> }).begin();
    return Promise.all(Array.from({ length: 20 }, () => client.me().then((user) => user.email)));
  });
  expect(new Set(emails).size).toBe(1);
  expect(emails).toHaveLength(20);
  expect(refreshes).toHaveLength(1);
  await expect(page.getByRole("heading", { level: 1, name: "Profile" })).toBeVisible();
});

test("two tabs that refresh at the same moment stay signed in", async ({ context, server }) => {
  const email = server.newUser();
  const [first, second] = [await context.newPage(), await context.newPage()];
  await server.signIn(first, email);
  await second.goto(`${server.url}/account`);
  await expect(second.getByRole("heading", { level: 1, name: "Profile" })).toBeVisible();
  for (let round = 0; round < 5; round += 1) {
    await Promise.all([first.reload(), second.reload()]);
    await Promise.all(
      [first, second].map((page) => expect(page.getByRole("heading", { level: 1, name: "Profile" })).toBeVisible()),
    );
  }
  for (const page of [first, second]) {
    await page.getByRole("link", { name: "Sessions" }).click();
    await expect(page.locator(".cards > li")).toHaveCount(1);
  }
});

test("a lost answer to a refresh does not sign the user out", async ({ page, server }) => {
  await server.signIn(page, server.newUser());
  let lost = 0;
  await page.route("**/auth/refresh", async (route) => {
    if (lost > 0) return route.continue();
    lost += 1;
    // The service rotates; its answer never arrives.
    await route.fetch();
    await route.abort("connectionreset");
  });
  await page.reload();
  await expect(page.getByRole("heading", { level: 1, name: "Profile" })).toBeVisible();
  expect(lost).toBe(1);
});

test("the server stopped and started again does not sign the user out, and loses nothing that was typed", async ({
  page,
  server,
}) => {
  await server.signIn(page, server.newUser());
  await page.getByLabel("Full name").fill("typed before");
  await server.stop("SIGKILL");
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByRole("alert")).toContainText("The service isn't responding");
  await expect(page.getByText("You stay signed in while")).toBeVisible();
  await expect(page.getByLabel("Full name")).toHaveValue("typed before");
  // Also a page that is opened meanwhile waits, and goes on by itself. The document itself cannot come from a server that is down.
  await server.start();
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByText("Saved.")).toBeVisible();
  await expect(page.getByText("You stay signed in while")).toBeHidden();
  await page.reload();
  await expect(page.getByLabel("Full name")).toHaveValue("typed before");
});

test("a page that opens while the service is away goes on by itself", async ({ page, server }) => {
  await server.signIn(page, server.newUser());
  let isAway = true;
  await page.route("**/auth/**", (route) => (isAway ? route.abort("connectionrefused") : route.continue()));
  await page.reload();
  await expect(page.getByRole("heading", { name: "No connection" })).toBeVisible();
  isAway = false;
  await expect(page.getByRole("heading", { level: 1, name: "Profile" })).toBeVisible({ timeout: 20_000 });
});

test("signing out in one tab reaches the other, and signing in too", async ({ context, server }) => {
  const email = server.newUser();
  const [first, second] = [await context.newPage(), await context.newPage()];
  await server.signIn(first, email);
  await second.goto(`${server.url}/account/sessions`);
  await expect(second.getByText("This device")).toBeVisible();
  await openMenu(first);
  await first.getByRole("button", { name: "Sign out", exact: true }).click();
  await expect(second.getByText("You signed out in another tab.")).toBeVisible();
  await second.getByRole("link", { name: "Sign in again" }).click();
  await first.goto(`${server.url}/login`);
  await server.signIn(first, email);
  // The second tab stood at the sign-in, with the way back kept.
  await expect(second).toHaveURL(`${server.url}/account/sessions`);
});

test("signing out while the server is down holds, and reaches it later", async ({ page, server }) => {
  await server.signIn(page, server.newUser());
  await page.route("**/auth/logout", (route) => route.abort("connectionrefused"));
  await openMenu(page);
  await page.getByRole("button", { name: "Sign out", exact: true }).click();
  await expect(page.getByRole("heading", { name: "You're signed out" })).toBeVisible();
  await page.unroute("**/auth/logout");
  const logouts = requests(page, "/auth/logout");
  await page.goto(`${server.url}/account`);
  await expect(page).toHaveURL(/\/login/);
  await expect.poll(() => logouts.length).toBeGreaterThan(0);
  // The session is over for the service as well: another load of the page does not bring it back.
  await page.goto(`${server.url}/account`);
  await expect(page).toHaveURL(/\/login/);
});

test("before the end of the session the user is asked, and stays", async ({ page, server }) => {
  await server.signIn(page, server.newUser());
  let isNear = true;
  await page.route("**/auth/sessions*", async (route) => {
    // The page may be closed while the service answers; then the answer is not read.
    try {
      const response = await route.fetch();
      const body = (await response.json()) as { items: { current: boolean; expires_at: string }[] };
      if (isNear) for (const session of body.items) session.expires_at = new Date(Date.now() + 90_000).toISOString();
      await route.fulfill({ response, json: body });
    } catch (error) {
      if (!/disposed|closed|handled/i.test(String(error))) throw error;
    }
  });
  await page.reload();
  const dialog = page.getByRole("dialog", { name: "Still there?" });
  await expect(dialog).toBeVisible();
  isNear = false;
  await dialog.getByRole("button", { name: "Stay signed in" }).click();
  await expect(dialog).toBeHidden();
  await expect(page.getByRole("heading", { level: 1, name: "Profile" })).toBeVisible();
});
