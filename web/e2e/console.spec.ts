import { readFileSync } from "node:fs";
import { expect, PASSWORD, test, withServer } from "./server";

test("an administrator's day: find, invite, change, end, look through", async ({ page, server, browser }) => {
  for (const [name, role] of [
    ["zeinab", "user"],
    ["omar", "user"],
    ["lina", "analyst"],
  ] as const)
    server.createUser(`${name}.day@example.com`, role, `${name} يوم`);
  const visitor = await browser.newPage();
  await server.signIn(visitor, "omar.day@example.com");
  await server.signIn(page, server.adminEmail, PASSWORD, "/login?return_to=%2Fconsole%2Fusers");
  await expect(page.getByRole("heading", { level: 1, name: "Users" })).toBeVisible();

  // Search, filter and sorting are in the address, and survive a reload and "back".
  await page.keyboard.press("/");
  await page.keyboard.type(".DAY@");
  await page.keyboard.press("Enter");
  await expect(page.getByText(/3\W* users/)).toBeVisible();
  await page.getByLabel("Role").selectOption("user");
  await page.getByRole("button", { name: "Email address" }).click();
  await expect(page).toHaveURL(/q=.DAY%40&role=user&sort=email/);
  await expect(page.locator("tbody tr")).toHaveCount(2);
  await expect(page.locator("tbody tr").first()).toContainText("omar.day");
  await expect(page.getByRole("columnheader", { name: "Email address" })).toHaveAttribute("aria-sort", "ascending");
  await page.reload();
  await expect(page.locator("tbody tr")).toHaveCount(2);

  // A file of what is shown.
  const [file] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Export CSV" }).click(),
  ]);
  const text = readFileSync(await file.path(), "utf8");
  expect(file.suggestedFilename()).toBe("users.csv");
  expect(text.startsWith("\uFEFFid,email,")).toBe(true);
  expect(text.split("\r\n")).toHaveLength(4);
  expect(text).toContain("zeinab يوم");

  // What is often searched for is one press.
  const saved = page.getByRole("navigation", { name: "Saved searches" });
  await saved.getByRole("link", { name: "Administrators" }).click();
  await expect(page).toHaveURL(/users\?role=admin$/);
  await expect(saved.getByRole("link", { name: "Administrators" })).toHaveAttribute("aria-current", "true");
  await expect(page.getByRole("row", { name: /admin@example\.com/ })).toContainText("HA");
  await page.goBack();
  await expect(page).toHaveURL(/q=.DAY%40&role=user&sort=email/);

  // One user: a role, which holds at once; the end of the sessions; a link.
  await page.getByRole("link", { name: "omar.day@example.com" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "omar يوم" })).toBeVisible();
  await page.getByLabel("Role").selectOption("analyst");
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByText("The change takes effect immediately")).toBeVisible();
  const parts = page.getByRole("navigation", { name: "omar.day@example.com" });
  await parts.getByRole("link", { name: "Sessions" }).click();
  await expect(page).toHaveURL(/\/console\/users\/\d+\?tab=sessions$/);
  await page.getByRole("button", { name: "Sign out everywhere" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Sign out everywhere" }).click();
  await expect(page.getByText(/Signed out on \W*1\W* device/)).toBeVisible();
  await visitor.getByRole("link", { name: "Sessions" }).click();
  await expect(visitor).toHaveURL(/\/login/);
  await parts.getByRole("link", { name: "Security" }).click();
  await page.getByRole("button", { name: "Send the link" }).click();
  await expect(page.getByText("We're emailing the link")).toBeVisible();
  expect((await server.mail("omar.day@example.com", "reset_password")).link).toContain("/reset-password#token=");

  await parts.getByRole("link", { name: "Activity" }).click();
  await expect(page.getByRole("region", { name: "Audit trail" })).toContainText("Role changed");

  // Back is where it was.
  for (let part = 0; part < 4; part += 1) await page.goBack();
  await expect(page).toHaveURL(/q=.DAY%40&role=user&sort=email/);

  // An invitation, redeemed.
  await page.getByRole("button", { name: "Invite someone" }).click();
  const dialog = page.getByRole("dialog", { name: "Invite someone" });
  await dialog.getByLabel("Email address").fill("invited.day@gmial.com");
  await dialog.getByLabel("Full name").focus();
  await dialog.getByRole("button", { name: "invited.day@gmail.com" }).click();
  await dialog.getByLabel("Role").selectOption("analyst");
  await dialog.getByRole("button", { name: "Send the invitation" }).click();
  await expect(page.getByText("We're emailing the invitation to")).toBeVisible();
  await visitor.goto((await server.mail("invited.day@gmail.com")).link ?? "");
  await expect(visitor.locator("main")).toContainText("invited.day@gmail.com");
  await visitor.getByLabel("Create a password").fill(PASSWORD);
  await visitor.getByRole("button", { name: "Create password and continue" }).click();
  await expect(visitor.getByRole("heading", { level: 1, name: "Profile" })).toBeVisible();
  await visitor.close();

  // The trail tells all of it, and leads from one thing to the next.
  await page.getByRole("link", { name: "Audit trail" }).click();
  await page.getByLabel("Event").selectOption("role_change");
  await expect(page).toHaveURL(/action=role_change/);
  await expect(page.locator("tbody tr")).toHaveCount(1);
  await expect(page.locator("tbody").getByText("now: analyst")).toBeVisible();
  await expect(page.locator("tbody tr td").nth(2)).toContainText("omar يوم");
  await expect(page.locator("tbody tr td").nth(3)).toContainText("Huda Admin");
  await page.locator("tbody tr td").nth(2).getByRole("link").click();
  await expect(page).toHaveURL(/user_id=\d+$/);
  await expect(page.locator("tbody").getByText("Session ended").first()).toBeVisible();
  // Digits of either script.
  await page.getByLabel("User ID").fill("١");
  await page.getByRole("button", { name: "Search" }).click();
  await expect(page).toHaveURL(/user_id=1$/);
  await page.getByRole("button", { name: "Clear filters" }).click();
  await expect(page).toHaveURL(/\/console\/audit$/);
  // Live: what happens appears by itself.
  await page.getByRole("button", { name: "Live" }).click();
  const before = await page.locator("tbody tr").count();
  await page.request.post(`${server.url}/auth/login`, { data: { email: "lina.day@example.com", password: "wrong" } });
  await expect(page.locator("tbody tr")).not.toHaveCount(before);
  await expect(page.locator("tbody tr").first()).toContainText("wrong password");

  await page.getByRole("link", { name: "Overview" }).click();
  await expect(page.getByRole("figure").filter({ hasText: "Sign-ins" }).first()).toContainText("Succeeded");
  await page.getByRole("figure").filter({ hasText: "Sign-ins" }).getByText("Show as table").click();
  await expect(page.getByRole("row")).toHaveCount(31);
});

test("many at once: a preview, and a result for each; the last administrator stays and it is said why", async ({
  page,
}) => {
  await withServer({}, async (server) => {
    server.createUser("admin@example.com", "admin");
    for (let number = 1; number <= 25; number += 1)
      server.createUser(`many-${String(number).padStart(2, "0")}@example.com`);
    await server.signIn(page, "admin@example.com", PASSWORD, "/login?return_to=%2Fconsole%2Fusers%3Fsort%3Demail");
    await page.getByLabel("Select everyone on this page").check();
    await page.getByRole("button", { name: /Select all .*26.* results/ }).click();
    await expect(page.getByText(/26\W* selected/)).toBeVisible();
    await page.getByRole("button", { name: "Deactivate", exact: true }).click();
    const dialog = page.getByRole("dialog", { name: /^Deactivate/ });
    await expect(dialog.getByRole("heading", { name: /Deactivate \W*25\W* users\?/ })).toBeVisible();
    await expect(dialog.getByText("Your own account isn't changed")).toBeVisible();
    // One of them is deleted meanwhile: what is rejected for one does not stop the others.
    const email = "many-25@example.com";
    const signIn = await page.request.post(`${server.url}/auth/login`, { data: { email, password: PASSWORD } });
    const { access_token } = (await signIn.json()) as { access_token: string };
    const removed = await page.request.delete(`${server.url}/auth/me`, {
      headers: { authorization: `Bearer ${access_token}` },
      data: { password: PASSWORD },
    });
    expect(removed.status()).toBe(204);
    const requests: string[] = [];
    page.on("request", (request) => request.method() !== "GET" && requests.push(request.url()));
    await dialog.getByRole("button", { name: /^Deactivate \W*25\W* users$/ }).click();
    await expect(dialog.getByText(/24\W* users changed/)).toBeVisible();
    await expect(dialog.getByText(/1\W* failed/)).toBeVisible();
    await expect(dialog.getByText("We couldn't find this")).toBeVisible();
    expect(requests.filter((url) => !url.endsWith("/auth/refresh"))).toEqual([`${server.url}/admin/users/bulk`]);
    await dialog.getByRole("button", { name: "Close" }).click();
    await page.getByLabel("Status").selectOption("false");
    await expect(page.getByText(/24\W* users/)).toBeVisible();
    await page.getByRole("button", { name: "Next" }).click();
    await expect(page).toHaveURL(/page=2/);
    await expect(page.locator("tbody tr")).toHaveCount(4);

    // The menu of a row leads to the parts of a user's page, and changes the user.
    const menu = page.getByRole("button", { name: "Actions for" }).first();
    await menu.click();
    await expect(page.getByRole("link", { name: "Sessions" })).toBeVisible();
    await page.keyboard.press("Escape");
    await expect(page.getByRole("link", { name: "Sessions" })).toHaveCount(0);
    await expect(menu).toBeFocused();
    await menu.click();
    await page.getByRole("button", { name: "Activate" }).click();
    await page
      .getByRole("dialog")
      .getByRole("button", { name: /^Activate/ })
      .click();
    // The list of the deactivated has one fewer, until that is undone.
    const status = page.getByRole("status");
    await expect(status.filter({ hasText: /1\W* user changed/ })).toBeVisible();
    await expect(status.filter({ hasText: /23\W* users/ })).toBeVisible();
    await page.getByRole("button", { name: "Undo" }).click();
    await expect(status.filter({ hasText: /24\W* users/ })).toBeVisible();

    // The seal of the trail is checked at the press of a button.
    await page.goto(`${server.url}/console/audit`);
    await expect(async () => {
      await page.getByRole("button", { name: "Check the seal" }).click();
      await expect(page.getByText("The audit trail is whole")).toBeVisible({ timeout: 2000 });
    }).toPass();
    await expect(page.getByText(/\d+\W* rows checked/)).toBeVisible();
    // The same guard at the user's own page, and for deleting.
    await page.goto(`${server.url}/console/users/1?tab=security`);
    await page.getByRole("button", { name: "Deactivate", exact: true }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Deactivate" }).click();
    await expect(page.getByRole("dialog").getByRole("alert")).toContainText("Give another account the role first");
    await page.keyboard.press("Escape");
    await expect(page.getByRole("dialog")).toHaveCount(0);
    await page.goto(`${server.url}/console/users/2?tab=security`);
    await page.getByRole("button", { name: "Delete user" }).click();
    await page
      .getByRole("dialog")
      .getByLabel(/^Type .* to confirm$/)
      .fill("many-02@example.com");
    await page.getByRole("dialog").getByRole("button", { name: "Delete user" }).click();
    await expect(page.getByRole("dialog").getByRole("alert")).toContainText("This doesn't match");
    await page
      .getByRole("dialog")
      .getByLabel(/^Type .* to confirm$/)
      .fill("many-01@example.com");
    await page.getByRole("dialog").getByRole("button", { name: "Delete user" }).click();
    await expect(page).toHaveURL(/\/console\/users$/);
    await page.goto(`${server.url}/console/users/2`);
    await expect(page.getByText("Then it's gone permanently")).toBeVisible();
    await page.goto(`${server.url}/console/users/1000`);
    await expect(page.getByRole("main")).toContainText("We couldn't find this");
    await expect(page.getByRole("alert")).toHaveCount(0);
  });
});

test("the first load of the console is at most 220 KB", async ({ browser, server }) => {
  for (const locale of ["en-GB", "ar-SA"]) {
    const context = await browser.newContext({ locale, extraHTTPHeaders: { "Accept-Encoding": "gzip" } });
    const page = await context.newPage();
    await server.signIn(page, server.adminEmail, PASSWORD, "/login?return_to=%2Funauthorized");
    // Without what the pages before have brought along.
    await context.clearCookies({ name: "josoor_locale" });
    const session = await context.newCDPSession(page);
    await session.send("Network.clearBrowserCache");
    let bytes = 0;
    const counted: Promise<void>[] = [];
    page.on("response", (response) => {
      if (!/\/(auth|admin)\/|\.woff2$/.test(response.url()))
        counted.push(
          response
            .request()
            .sizes()
            .then((sizes) => {
              bytes += sizes.responseBodySize;
            }),
        );
    });
    await page.goto(`${server.url}/console`);
    await page.locator(".plot canvas").first().waitFor();
    await Promise.all(counted);
    expect(bytes).toBeGreaterThan(80_000);
    expect(bytes).toBeLessThanOrEqual(220_000);
    await context.close();
  }
});

test("first steps: what is done is ticked, and the lines to copy have this service's address", async ({ page }) => {
  await withServer({}, async (server) => {
    server.createUser("admin@example.com", "admin");
    await server.signIn(page, "admin@example.com", PASSWORD, "/login?return_to=%2Fconsole");
    const steps = page.getByRole("region", { name: "First steps" });
    await expect(steps.getByRole("listitem")).toHaveCount(4);
    await steps.getByText("Copy the lines for what you use").click();
    for (const [name, part] of [
      ["React", "<LoginForm"],
      ["FastAPI", "async def current_user"],
      ["Express", "requireUser"],
      ["nginx", "auth_request"],
    ] as const) {
      await steps.getByRole("button", { name, exact: true }).click();
      await expect(steps.locator("pre")).toContainText(part);
      await expect(steps.locator("pre")).toContainText(server.url);
    }
    server.createUser("second@example.com", "admin");
    // Counts are some seconds old at times.
    await expect(async () => {
      await page.reload();
      const second = steps.getByRole("listitem").filter({ hasText: "second administrator" });
      await expect(second).toContainText("done", { timeout: 1000 });
    }).toPass();
    await steps.getByRole("button", { name: "Hide the first steps" }).click();
    await expect(steps).toHaveCount(0);
    await page.reload();
    await expect(page.getByRole("figure").first()).toBeVisible();
    await expect(steps).toHaveCount(0);
  });
});
