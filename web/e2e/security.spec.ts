import { expect, PASSWORD, test, withServer } from "./server";

const NEXT = "another sentence, even longer";
/** A device is known by its cookie or, without one, by its network and its name. So it needs another name to be another one. */
const FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

test("known devices: listed, forgotten one by one and all at once", async ({ page, server, browser }) => {
  const email = server.newUser();
  await server.signIn(page, email);
  const second = await browser.newContext({ userAgent: FIREFOX });
  const other = await second.newPage();
  await server.signIn(other, email);
  await page.getByRole("link", { name: "Devices" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "Devices" })).toBeVisible();
  await expect(page.locator(".cards > li")).toHaveCount(2);
  await expect(page.getByText("This device", { exact: true })).toHaveCount(1);

  const strange = page.locator(".cards > li").filter({ hasNotText: "This device" });
  await strange.getByRole("button", { name: /^Remove: / }).click();
  const dialog = page.getByRole("dialog", { name: "Remove this device?" });
  await dialog.getByRole("button", { name: "Cancel" }).click();
  await expect(page.locator(".cards > li")).toHaveCount(2);
  await strange.getByRole("button", { name: /^Remove: / }).click();
  await dialog.getByRole("button", { name: "Yes, remove" }).click();
  await expect(page.getByRole("status").filter({ hasText: "is removed" })).toBeVisible();
  await expect(page.locator(".cards > li")).toHaveCount(1);
  // The session there goes on.
  await other.reload();
  await expect(other.getByRole("heading", { level: 1, name: "Profile" })).toBeVisible();

  await page.getByRole("button", { name: "Remove all devices" }).click();
  await page.getByRole("dialog", { name: "Remove all devices?" }).getByRole("button", { name: "Yes, remove" }).click();
  await expect(page.getByText("No known devices.")).toBeVisible();
  await page.getByRole("link", { name: "Activity" }).click();
  await expect(page.getByText("You removed a known device.").first()).toBeVisible();
  await second.close();
});

test("a change of the password forgets the other devices", async ({ page, server, browser }) => {
  const email = server.newUser();
  await server.signIn(page, email);
  const other = await browser.newContext({ userAgent: FIREFOX });
  await server.signIn(await other.newPage(), email);
  await page.goto(`${server.url}/account/password`);
  await page.getByLabel("Current password").fill(PASSWORD);
  await page.getByLabel("New password").fill(NEXT);
  await page.getByRole("button", { name: "Change the password" }).click();
  await expect(page.getByText("Your password is changed")).toBeVisible();
  await page.getByRole("link", { name: "Devices" }).click();
  await expect(page.getByText("No known devices.").or(page.getByText("This device", { exact: true }))).toBeVisible();
  await expect(page.locator(".cards > li").filter({ hasNotText: "This device" })).toHaveCount(0);
  await other.close();
});

test("a sign-in from a new device: its message leads to a page that secures the account", async ({
  page,
  server,
  browser,
}) => {
  const email = await server.newOwner();
  await server.signIn(page, email);
  const strange = await browser.newContext({ userAgent: FIREFOX });
  const intruder = await strange.newPage();
  await server.signIn(intruder, email);
  const { link } = await server.mail(email, "new_device");
  expect(link).toContain("/secure-account#token=");

  // Opening the link changes nothing.
  await page.goto(link ?? "");
  await expect(page.getByRole("heading", { name: "Secure your account" })).toBeVisible();
  expect(page.url()).not.toContain("token");
  await intruder.reload();
  await expect(intruder.getByRole("heading", { level: 1, name: "Profile" })).toBeVisible();

  // A mistyped address uses nothing up.
  await page.getByLabel("Email address").fill("somebody-else@example.com");
  await page.getByRole("button", { name: "Secure my account" }).click();
  await expect(page.getByRole("alert")).toContainText("belongs to another email address");
  await page.getByLabel("Email address").fill(email);
  await page.getByRole("button", { name: "Secure my account" }).click();
  await expect(page.getByRole("heading", { name: "Your account is secure" })).toBeVisible();

  await intruder.reload();
  await expect(intruder).toHaveURL(/\/login/);
  const reset = await server.mail(email, "reset_password");
  await page.goto("about:blank");
  await page.goto(reset.link ?? "");
  await page.getByLabel("New password").fill(NEXT);
  await page.getByRole("button", { name: "Set the password" }).click();
  await expect(page.getByRole("heading", { name: "Your password is set" })).toBeVisible();
  await server.signIn(page, email, NEXT);

  // The link worked once.
  await page.goto("about:blank");
  await page.goto(link ?? "");
  await expect(page.getByRole("heading", { name: "This link was already used" })).toBeVisible();
  await strange.close();
});

test("a deleted account comes back with the link of its message", async ({ page, server }) => {
  const email = server.newUser();
  await server.signIn(page, email);
  await page.goto(`${server.url}/account/delete`);
  await expect(page.getByText(/72\W* hours/)).toBeVisible();
  await page.getByRole("button", { name: "Delete my account…" }).click();
  await page.getByLabel("Current password").fill(PASSWORD);
  // The form is asleep for half a second.
  await page.waitForTimeout(600);
  await page.getByRole("button", { name: "Delete my account", exact: true }).click();
  await expect(page.getByRole("heading", { name: "Your account is deleted" })).toBeVisible();
  await page.goto(`${server.url}/login`);
  await page.getByLabel("Email address").fill(email);
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByRole("alert")).toContainText("do not match");

  const { link } = await server.mail(email, "account_deletion");
  await page.goto(link ?? "");
  await expect(page.getByRole("heading", { name: "Undo a change" })).toBeVisible();
  await page.getByRole("button", { name: "Undo the change" }).click();
  await expect(page.getByRole("heading", { name: "The change is undone" })).toBeVisible();
  await page.getByRole("main").getByRole("link", { name: "Sign in" }).click();
  await server.signIn(page, email);
});

test("a change of the address that is taken back: the reset asks for more than its link", async ({
  page,
  server,
  browser,
}) => {
  // Only a verified address has an owner who can recover the account.
  const email = await server.newOwner();
  const stolen = server.newEmail("stolen");
  const context = await browser.newContext();
  const intruder = await context.newPage();
  await server.signIn(intruder, email);
  await intruder.goto(`${server.url}/account/email`);
  await intruder.getByLabel("New email address").fill(stolen);
  await intruder.getByLabel("Current password").fill(PASSWORD);
  await intruder.getByRole("button", { name: "Send the link" }).click();
  await expect(intruder.getByText("Check the new inbox")).toBeVisible();
  await intruder.goto((await server.mail(stolen)).link ?? "");
  await intruder.getByRole("button", { name: "Confirm" }).click();
  await expect(intruder.getByRole("heading", { name: "Email address confirmed" })).toBeVisible();

  const undo = await server.mail(email, "email_changed");
  await page.goto("about:blank");
  await page.goto(undo.link ?? "");
  await page.getByRole("button", { name: "Undo the change" }).click();
  await expect(page.getByRole("heading", { name: "The change is undone" })).toBeVisible();
  await expect(page.getByText("Open the link we emailed there")).toBeVisible();
  await intruder.goto(`${server.url}/account`);
  await expect(intruder).toHaveURL(/\/login/);

  const reset = await server.mail(email, "reset_password");
  await page.goto("about:blank");
  await page.goto(reset.link ?? "");
  await page.getByLabel("New password").fill(NEXT);
  await page.getByRole("button", { name: "Set the password" }).click();
  await expect(page.getByText("Enter a password you used before the change")).toBeVisible();
  await page.getByLabel("Password before the change").fill("not this one");
  await page.getByLabel("New password").fill(NEXT);
  await page.getByRole("button", { name: "Set the password" }).click();
  await expect(page.getByRole("alert")).toBeVisible();
  await page.getByLabel("Password before the change").fill(PASSWORD);
  await page.getByLabel("New password").fill(NEXT);
  await page.getByRole("button", { name: "Set the password" }).click();
  await expect(page.getByRole("heading", { name: "Your password is set" })).toBeVisible();
  await server.signIn(page, email, NEXT);
  await context.close();
});

test("an administrator restores a deleted account, and releases one whose owner cannot recover it", async ({
  page,
  server,
  request,
}) => {
  const post = async (path: string, data: object, token = "") => {
    const headers: Record<string, string> = token ? { Authorization: `Bearer ${token}` } : {};
    const answer = await request.post(`${server.url}${path}`, { data, headers });
    expect(answer.ok(), `${path}: ${await answer.text()}`).toBe(true);
    return (await answer.json()) as { access_token: string };
  };
  const tokenOf = async (to: string, kind: string) => (await server.mail(to, kind)).link?.split("token=")[1] ?? "";
  const deleted = server.newUser("user", "Deleted Person");
  const frozen = await server.newOwner();
  const stolen = server.newEmail("stolen");
  const { access_token } = await post("/auth/login", { email: frozen, password: PASSWORD });
  await post("/auth/email/change", { new_email: stolen, password: PASSWORD }, access_token);
  await post("/auth/email/verify", { token: await tokenOf(stolen, "confirm_email") }, access_token);
  await post("/auth/account/undo", { token: await tokenOf(frozen, "email_changed") });

  await server.signIn(page, server.adminEmail, PASSWORD, "/login?return_to=%2Fconsole%2Fusers");
  await page.getByRole("link", { name: deleted }).click();
  await page.getByRole("link", { name: "Security" }).click();
  await page.getByRole("button", { name: "Delete user" }).click();
  const dialog = page.getByRole("dialog", { name: "Delete user" });
  await expect(dialog.getByText(/can restore it for \W*72\W* hours/)).toBeVisible();
  await dialog.getByRole("textbox").fill(deleted);
  await dialog.getByRole("button", { name: "Delete user" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "Users" })).toBeVisible();
  await expect(page.getByRole("link", { name: deleted })).toHaveCount(0);
  await page.getByLabel("Status").selectOption("deleted");
  await expect(page).toHaveURL(/deleted=true/);
  await page.getByRole("link", { name: deleted }).click();
  await expect(page.getByText("Then it's gone permanently")).toBeVisible();
  await page.getByRole("button", { name: "Restore account" }).click();
  await expect(page.getByText("The account is restored.")).toBeVisible();
  await expect(page.getByText("Active", { exact: true })).toBeVisible();
  await post("/auth/login", { email: deleted, password: PASSWORD });

  await page.goto(`${server.url}/console/users?q=${encodeURIComponent(frozen)}`);
  await expect(page.locator("tbody").getByText("Frozen", { exact: true })).toBeVisible();
  await page.getByRole("link", { name: frozen }).click();
  await page.getByRole("button", { name: "Release account" }).click();
  await expect(page.getByText("The account is released.")).toBeVisible();
  await expect(page.getByRole("button", { name: "Release account" })).toHaveCount(0);
  // Now the link alone is enough.
  const before = await tokenOf(frozen, "reset_password");
  await page.getByRole("link", { name: "Security" }).click();
  await page.getByRole("button", { name: "Send the link" }).click();
  await expect(page.getByText("We're emailing the link")).toBeVisible();
  await expect.poll(() => tokenOf(frozen, "reset_password")).not.toBe(before);
  await post("/auth/password/reset", { token: await tokenOf(frozen, "reset_password"), new_password: NEXT });
  await post("/auth/login", { email: frozen, password: NEXT });
});

test("links without a token can be pasted, and nonsense is said to be incomplete", async ({ page, server }) => {
  for (const path of ["/undo", "/secure-account"]) {
    await page.goto(server.url + path);
    await expect(page.getByLabel("Link")).toBeVisible();
    await page.goto("about:blank");
    await page.goto(`${server.url}${path}#token=nonsense`);
    await expect(page.getByRole("heading", { name: "This link is incomplete" })).toBeVisible();
  }
});

test("where addresses must be verified, the sign-in offers the link again", async ({ page }) => {
  await withServer({ JOSOOR_AUTH__REGISTRATION__REQUIRE_VERIFIED: "true" }, async (server) => {
    const email = "new@example.com";
    await page.goto(`${server.url}/register`);
    await page.getByLabel("Email address").fill(email);
    await page.getByLabel("Create a password").fill(PASSWORD);
    await page.getByRole("button", { name: "Create account" }).click();
    await expect(page.getByRole("heading", { name: "Check your inbox" })).toBeVisible();
    await page.goto(`${server.url}/login`);
    await page.getByLabel("Email address").fill(email);
    await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
    await page.getByRole("button", { name: "Sign in" }).click();
    await expect(page.getByRole("alert")).toContainText("Confirm your email address first");
    const before = await server.mail(email, "verify_email");
    await page.getByRole("button", { name: "Send the link again" }).click();
    await expect(page.getByText("Sent.")).toBeVisible();
    await expect.poll(async () => (await server.mail(email, "verify_email")).link).not.toBe(before.link);
    await page.goto((await server.mail(email, "verify_email")).link ?? "");
    await page.getByRole("button", { name: "Confirm" }).click();
    await page.getByLabel("Password").fill(PASSWORD);
    await page.getByRole("button", { name: "Confirm" }).click();
    await expect(page.getByRole("heading", { name: "Email address confirmed" })).toBeVisible();
    await server.signIn(page, email);
  });
});
