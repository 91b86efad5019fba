import { expect, openMenu, PASSWORD, test, withServer } from "./server";

const NEXT = "another sentence, even longer";

test("an account from its beginning: register, verify, sign in, change, forget, reset", async ({
  page,
  server,
  browser,
}) => {
  const email = server.newEmail("journey");
  await page.goto(`${server.url}/login`);
  await page.getByRole("link", { name: "Create one" }).click();
  await page.getByLabel("Full name").fill("Nadia ندى");
  await page.getByLabel("Email address").fill(email);
  await page.getByLabel("Create a password").fill(PASSWORD);
  await page.getByRole("button", { name: "Create account" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "Profile" })).toBeVisible();
  await expect(page.getByText("isn't confirmed yet")).toBeVisible();

  // Opening the link changes nothing; pressing the button does.
  const verify = await server.mail(email, "verify_email");
  await page.goto(verify.link ?? "");
  await expect(page.getByRole("heading", { name: "Confirm your email address" })).toBeVisible();
  expect(page.url()).not.toContain("token");
  await page.getByRole("button", { name: "Confirm" }).click();
  await expect(page.getByRole("heading", { name: "Email address confirmed" })).toBeVisible();
  await page.getByRole("link", { name: "Go to my account" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "Profile" })).toBeVisible();
  await expect(page.getByText("isn't confirmed yet")).toBeHidden();

  // Out, and in again in two browsers.
  await openMenu(page);
  await page.getByRole("button", { name: "Sign out", exact: true }).click();
  await expect(page.getByRole("heading", { name: "You're signed out" })).toBeVisible();
  await page.getByRole("link", { name: "Sign in again" }).click();
  await page.getByLabel("Email address").fill(email);
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "Profile" })).toBeVisible();
  const second = await browser.newPage();
  await server.signIn(second, email);
  await second.goto(`${server.url}/account/sessions`);
  await expect(second.locator(".cards > li")).toHaveCount(2);

  // Another password: this browser stays, the other one is out.
  await page.goto(`${server.url}/account/password`);
  await page.getByLabel("Current password").fill("not this one");
  await page.getByLabel("New password").fill(NEXT);
  await page.getByRole("button", { name: "Change the password" }).click();
  await expect(page.getByRole("alert")).toContainText("This is not your current password");
  await expect(page.getByLabel("Current password")).toHaveValue("");
  await page.getByLabel("Current password").fill(PASSWORD);
  await page.getByRole("button", { name: "Change the password" }).click();
  await expect(page.getByText("Your password is changed")).toBeVisible();
  await second.getByRole("link", { name: "Activity" }).click();
  await expect(second).toHaveURL(/\/login\?return_to=%2Faccount%2Factivity/);
  await expect(second.getByText("Your password changed, so we signed you out")).toBeVisible();

  // Forgotten. The address that was typed comes along.
  await second.getByLabel("Email address").fill(email);
  await second.getByRole("link", { name: "Forgot your password?" }).click();
  await expect(second.getByLabel("Email address")).toHaveValue(email);
  await second.getByRole("button", { name: "Send the link" }).click();
  await expect(second.getByRole("heading", { name: "Check your inbox" })).toBeVisible();
  const first = await server.mail(email, "reset_password");
  await second.getByRole("button", { name: "Send another link" }).click();
  await expect(second.getByText("Sent.")).toBeVisible();
  await expect.poll(async () => (await server.mail(email, "reset_password")).link).not.toBe(first.link);
  const reset = await server.mail(email, "reset_password");
  // Only the newest link works; the others say so.
  await second.goto(first.link ?? "");
  await expect(second.getByRole("heading", { name: "This link has expired" })).toBeVisible();
  await second.goto("about:blank");
  await second.goto(reset.link ?? "");
  await second.getByLabel("New password").fill("short");
  await second.getByRole("button", { name: "Set the password" }).click();
  await expect(second.getByRole("alert")).toContainText("New password: This password is too short.");
  await second.getByLabel("New password").fill(PASSWORD);
  await second.getByRole("button", { name: "Set the password" }).click();
  await expect(second.getByRole("heading", { name: "Your password is set" })).toBeVisible();
  // The link worked once, and says so on a page of its own.
  await second.goto("about:blank");
  await second.goto(reset.link ?? "");
  await expect(second.getByRole("heading", { name: "This link was already used" })).toBeVisible();
  await second.getByRole("link", { name: "Sign in" }).click();
  await server.signIn(second, email);
  // The first browser was signed out by it.
  await page.goto(`${server.url}/account/sessions`);
  await expect(page).toHaveURL(/\/login/);
  await second.close();
});

test("links that are cut say so, and a link can be pasted", async ({ page, server }) => {
  for (const path of ["/reset-password", "/verify-email", "/setup"]) {
    await page.goto(server.url + path);
    await page.getByLabel("Link").fill("nonsense");
    await page.getByRole("button", { name: "Continue" }).click();
    await expect(page.getByRole("heading", { name: "This link is incomplete" })).toBeVisible();
    await page.goto(`${server.url}${path}#token=nonsense`);
    await expect(page.getByRole("heading", { name: "This link is incomplete" })).toBeVisible();
    expect(page.url()).not.toContain("nonsense");
  }
  const email = server.newUser();
  await page.request.post(`${server.url}/auth/password/forgot`, { data: { email } });
  const { link } = await server.mail(email, "reset_password");
  await page.goto(`${server.url}/reset-password`);
  await page.getByLabel("Link").fill(link ?? "");
  await page.getByRole("button", { name: "Continue" }).click();
  await expect(page.getByLabel("New password")).toBeVisible();
  expect(page.url()).not.toContain("token");
});

test("a deep link survives the sign-in, and never leads to another site", async ({ page, server }) => {
  const email = server.newUser();
  const deep = "/account/activity?x=%D8%A7#part";
  await page.goto(server.url + deep);
  await expect(page).toHaveURL(/\/login\?return_to=/);
  await page.getByRole("link", { name: "Create one" }).click();
  await page.getByRole("link", { name: "Sign in" }).click();
  await page.getByLabel("Email address").fill(email);
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page).toHaveURL(server.url + deep);
  for (const evil of ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"]) {
    await page.goto(`${server.url}/login?return_to=${encodeURIComponent(evil)}`);
    await expect(page).toHaveURL(`${server.url}/account`);
  }
});

test("nothing of a page is shown to who may not see it", async ({ page, server }) => {
  await server.signIn(page, server.newUser());
  await page.goto(`${server.url}/console/users`);
  await expect(page.getByRole("heading", { name: "You don't have access to this page" })).toBeVisible();
  await expect(page.getByRole("table")).toHaveCount(0);
});

test("email address, sessions, profile, deletion", async ({ page, server, browser }) => {
  const email = server.newUser();
  const next = server.newEmail("moved");
  await server.signIn(page, email);
  await page.getByLabel("Full name").fill("  ليلى حسن ");
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.getByText("Saved.")).toBeVisible();
  await expect(page.getByRole("button", { name: /^Menu of .ليلى حسن/ })).toBeVisible();

  await page.getByRole("link", { name: "Email address" }).click();
  await page.getByLabel("New email address").fill(next);
  await page.getByLabel("Current password").fill(PASSWORD);
  await page.getByRole("button", { name: "Send the link" }).click();
  await expect(page.getByText("Check the new inbox")).toBeVisible();
  const link = (await server.mail(next)).link ?? "";
  await page.goto(link);
  await page.getByRole("button", { name: "Confirm" }).click();
  await expect(page.getByRole("heading", { name: "Email address confirmed" })).toBeVisible();

  const other = await browser.newPage();
  await server.signIn(other, next);
  await page.goto(`${server.url}/account/sessions`);
  await expect(page.getByText("This device")).toHaveCount(1);
  await page.getByRole("button", { name: /^Sign out: / }).click();
  await page.getByRole("button", { name: "Yes, sign out" }).click();
  await expect(page.locator(".cards > li")).toHaveCount(1);
  await other.getByRole("link", { name: "Sessions" }).click();
  await expect(other).toHaveURL(/\/login/);
  await expect(other.getByText("Another device or an administrator signed you out")).toBeVisible();
  await other.close();

  await page.getByRole("link", { name: "Activity" }).click();
  await expect(page.getByText("Email address changed")).toBeVisible();
  await page.getByRole("link", { name: "Delete account" }).click();
  await page.getByRole("button", { name: "Delete my account…" }).click();
  await page.getByLabel("Current password").fill(PASSWORD);
  // The form is asleep for half a second.
  await page.waitForTimeout(600);
  await page.getByRole("button", { name: "Delete my account", exact: true }).click();
  await expect(page.getByRole("heading", { name: "Your account is deleted" })).toBeVisible();
});

test("Arabic from the registration to the mail, and the user's language wherever they sign in", async ({
  browser,
  server,
}) => {
  const context = await browser.newContext({ locale: "ar-SA" });
  const page = await context.newPage();
  const email = server.newEmail("arabic");
  await page.goto(`${server.url}/register`);
  await expect(page.locator("html")).toHaveAttribute("dir", "rtl");
  await page.getByLabel("البريد الإلكتروني").fill(email);
  await page.getByLabel("أنشئ كلمة مرور").fill("short");
  await page.getByRole("button", { name: "إنشاء الحساب" }).click();
  await expect(page.getByRole("alert")).toContainText("كلمة المرور قصيرة جدًا");
  await page.getByLabel("أنشئ كلمة مرور").fill("جملة طويلة بالعربية");
  await page.getByRole("button", { name: "إنشاء الحساب" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "الملف الشخصي" })).toBeVisible();
  expect((await server.mail(email)).locale).toBe("ar");
  await context.close();
  // An English browser: English until it is known who it is.
  const english = await browser.newPage({ locale: "en-GB" });
  await english.goto(`${server.url}/login`);
  await expect(english.locator("html")).toHaveAttribute("dir", "ltr");
  await english.getByLabel("Email address").fill(email);
  await english.getByLabel("Password", { exact: true }).fill("جملة طويلة بالعربية");
  await expect(english.getByText("You are typing Arabic letters.")).toBeVisible();
  await english.getByRole("button", { name: "Sign in" }).click();
  await expect(english.getByRole("heading", { level: 1, name: "الملف الشخصي" })).toBeVisible();
  await expect(english.locator("html")).toHaveAttribute("dir", "rtl");
  // And back, on any page, without losing what was typed.
  await english.goto(`${server.url}/account/password`);
  await english.getByLabel("كلمة المرور الجديدة").fill("something typed");
  await openMenu(english);
  await english.getByRole("button", { name: "English" }).click();
  await expect(english.getByRole("heading", { level: 1, name: "Change password" })).toBeVisible();
  await expect(english.getByLabel("New password")).toHaveValue("something typed");
  await english.close();
});

test("limits count down and keep what was typed", async ({ page }) => {
  await withServer(
    { JOSOOR_AUTH__LIMITS__ENABLED: "true", JOSOOR_AUTH__LIMITS__LOGIN_PAIR: "2/20s" },
    async (server) => {
      await page.goto(`${server.url}/login`);
      await page.getByLabel("Email address").fill("somebody@example.com");
      for (const password of ["one", "two", "three"]) {
        await page.getByLabel("Password", { exact: true }).fill(password);
        const answered = page.waitForResponse(/\/auth\/pages\/login/);
        await page.getByRole("button", { name: "Sign in" }).click();
        await answered;
        // The next page is there: what was typed is in it no longer.
        await expect(page.getByLabel("Password", { exact: true })).toHaveValue("");
      }
      await expect(page.getByRole("alert")).toContainText(/Too many attempts\. Try again in \W*\d\W+seconds?/);
      await expect(page.getByLabel("Email address")).toHaveValue("somebody@example.com");
      await expect(page.getByRole("button", { name: "Sign in" })).toHaveAttribute("aria-disabled", "true");
      await expect(page.getByRole("alert")).toContainText("You can try again now.", { timeout: 20_000 });
      await expect(page.getByRole("button", { name: "Sign in" })).toHaveAttribute("aria-disabled", "false");
    },
  );
});

test("the other two modes of registration", async ({ page }) => {
  await withServer({ JOSOOR_AUTH__REGISTRATION__MODE: "verify_first" }, async (server) => {
    await page.goto(`${server.url}/register`);
    await page.getByLabel("Email address").fill("first@example.com");
    await page.getByLabel("Create a password").fill(PASSWORD);
    await page.getByRole("button", { name: "Create account" }).click();
    await expect(page.getByRole("heading", { name: "Check your inbox" })).toBeVisible();
    await page.goto((await server.mail("first@example.com")).link ?? "");
    await page.getByRole("button", { name: "Confirm" }).click();
    await page.getByLabel("Password").fill(PASSWORD);
    await page.getByRole("button", { name: "Confirm" }).click();
    await expect(page.getByRole("heading", { name: "Email address confirmed" })).toBeVisible();
    await server.signIn(page, "first@example.com");
  });
  await withServer({ JOSOOR_AUTH__REGISTRATION__MODE: "closed" }, async (server) => {
    await page.goto(`${server.url}/login`);
    await expect(page.getByLabel("Email address")).toBeVisible();
    await expect(page.getByRole("link", { name: "Create one" })).toHaveCount(0);
    await page.goto(`${server.url}/register`);
    await expect(page.getByText("Only administrators create accounts here")).toBeVisible();
  });
});

test("the first administrator, by the link of the first start", async ({ page }) => {
  await withServer({}, async (server) => {
    const link = server.setupLink();
    await page.goto(link.replace(/^http:\/\/[^/]+/, server.url));
    await page.getByLabel("Email address").fill("first@example.com");
    await page.getByLabel("Create a password").fill(PASSWORD);
    await page.getByRole("button", { name: "Create account" }).click();
    await expect(page.getByRole("heading", { name: "Welcome" })).toBeVisible();
    await page.getByRole("main").getByRole("link", { name: "Console" }).click();
    await expect(page.getByRole("heading", { level: 1, name: "Overview" })).toBeVisible();
    await expect(page.locator(".tile").filter({ hasText: "Active sessions" })).toContainText("1");
  });
});
