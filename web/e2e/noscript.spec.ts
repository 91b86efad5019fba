import { type BrowserContext, chromium, type Page } from "@playwright/test";
import { expect, PASSWORD, type Server, slowDown, test } from "./server";

const NEXT = "another sentence, even longer";

/** What the pages say in each language. */
const WORDS = {
  en: {
    create: "Create account",
    confirm: "Confirm",
    confirmed: "Email address confirmed",
    signIn: "Sign in",
    mismatch: "do not match",
    short: "This password is too short.",
    sendLink: "Send the link",
    inbox: "Check your inbox",
    next: "Continue",
    set: "Set the password",
    isSet: "Your password is set",
    welcome: "Welcome",
    join: "Create password and continue",
    signOut: "Sign out",
    signedOut: "You're signed out",
    incomplete: "This link is incomplete",
  },
  ar: {
    create: "إنشاء الحساب",
    confirm: "تأكيد",
    confirmed: "تم تأكيد بريدك الإلكتروني",
    signIn: "تسجيل الدخول",
    mismatch: "غير صحيحة",
    short: "كلمة المرور قصيرة جدًا.",
    sendLink: "إرسال الرابط",
    inbox: "تحقق من بريدك",
    next: "متابعة",
    set: "تعيين كلمة المرور",
    isSet: "تم تعيين كلمة المرور",
    welcome: "مرحبًا بك",
    join: "إنشاء كلمة المرور والمتابعة",
    signOut: "تسجيل الخروج",
    signedOut: "تم تسجيل خروجك",
    incomplete: "الرابط ناقص",
  },
} as const;

const field = (page: Page, name: string) => page.locator(`input[name="${name}"]`);
const press = (page: Page, name: string) => page.getByRole("button", { name, exact: true }).click();
const heading = (page: Page, name: string) => expect(page.getByRole("heading", { level: 1, name })).toBeVisible();

/** Whether the browser's session is live, as the account's program would find. */
const isSignedIn = async (context: BrowserContext, server: Server) =>
  (await context.request.post(`${server.url}/auth/refresh`, { data: {}, headers: { Origin: server.url } })).ok();

/** Opens a page of links and pastes the link of the mail. */
async function paste(page: Page, server: Server, path: string, link: string | null, next: string) {
  await page.goto(server.url + path);
  await field(page, "link").fill(link ?? "");
  await press(page, next);
  expect(page.url()).not.toContain("token");
}

for (const language of ["en", "ar"] as const) {
  test(`with JavaScript off: register, verify, sign in, forgot, reset, invitation, sign out: ${language}`, async ({
    browser,
    server,
    request,
  }) => {
    const words = WORDS[language];
    const context = await browser.newContext({
      javaScriptEnabled: false,
      locale: language === "ar" ? "ar-SA" : "en-GB",
    });
    const page = await context.newPage();
    const email = server.newEmail("plain");

    await page.goto(`${server.url}/register`);
    await expect(page.locator("html")).toHaveAttribute("dir", language === "ar" ? "rtl" : "ltr");
    await field(page, "full_name").fill("Nadia ندى");
    await field(page, "email").fill(email);
    await field(page, "password").fill("short");
    await press(page, words.create);
    await expect(page.getByRole("alert")).toContainText(words.short);
    await expect(page.getByRole("alert")).toBeFocused();
    await expect(field(page, "email")).toHaveValue(email);
    await field(page, "password").fill(PASSWORD);
    await press(page, words.create);
    await expect(page).toHaveURL(`${server.url}/account`);
    expect(await isSignedIn(context, server)).toBe(true);

    await paste(page, server, "/verify-email", (await server.mail(email, "verify_email")).link, words.next);
    await press(page, words.confirm);
    await heading(page, words.confirmed);

    await page.goto(`${server.url}/account`);
    await page.getByRole("link", { name: words.signOut }).click();
    await press(page, words.signOut);
    await heading(page, words.signedOut);
    expect(await isSignedIn(context, server)).toBe(false);

    // Back and reload show the step that was reached.
    await page.goto(`${server.url}/login?return_to=%2Fsigned-out`);
    await field(page, "email").fill(email);
    await field(page, "password").fill("wrong");
    await press(page, words.signIn);
    await expect(page.getByRole("alert")).toContainText(words.mismatch);
    await page.reload();
    await expect(page.getByRole("alert")).toContainText(words.mismatch);
    await page.goBack();
    await page.goForward();
    await expect(field(page, "email")).toHaveValue(email);
    await field(page, "password").fill(PASSWORD);
    await press(page, words.signIn);
    await expect(page).toHaveURL(`${server.url}/signed-out`);
    expect(await isSignedIn(context, server)).toBe(true);

    await page.goto(`${server.url}/forgot-password`);
    await field(page, "email").fill(email);
    await press(page, words.sendLink);
    await heading(page, words.inbox);
    await paste(page, server, "/reset-password", "nonsense", words.next);
    await heading(page, words.incomplete);
    await paste(page, server, "/reset-password", (await server.mail(email, "reset_password")).link, words.next);
    await field(page, "new_password").fill(NEXT);
    await press(page, words.set);
    await heading(page, words.isSet);
    expect(await isSignedIn(context, server)).toBe(false);

    const invited = server.newEmail("invited");
    const admin = await request.post(`${server.url}/auth/login`, {
      data: { email: server.adminEmail, password: PASSWORD },
    });
    const { access_token } = (await admin.json()) as { access_token: string };
    await request.post(`${server.url}/admin/users`, {
      data: { email: invited, locale: language },
      headers: { Authorization: `Bearer ${access_token}` },
    });
    await paste(page, server, "/reset-password", (await server.mail(invited, "invitation")).link, words.next);
    await heading(page, words.welcome);
    await field(page, "new_password").fill(PASSWORD);
    await press(page, words.join);
    await expect(page).toHaveURL(`${server.url}/account`);
    expect(await isSignedIn(context, server)).toBe(true);
    await context.close();
  });
}

test("a form of another site reaches nothing", async ({ page, server }) => {
  const email = server.newUser();
  await page.goto(`${server.url}/login`);
  const token = await page.locator('input[name="form"]').first().inputValue();
  // 127.0.0.1 is another site than localhost; the browser sends its origin, and the cookie or not.
  await page.route("http://127.0.0.1:1/", (route) =>
    route.fulfill({
      contentType: "text/html",
      body: `<!doctype html><form method="post" action="${server.url}/auth/pages/login">
        <input name="form" value="${token}"><input name="email" value="${email}"><input name="password" value="${PASSWORD}">
        <button>Go</button></form>`,
    }),
  );
  await page.goto("http://127.0.0.1:1/");
  await page.getByRole("button", { name: "Go" }).click();
  await expect(page.getByRole("heading", { name: "We couldn't send this" })).toBeVisible();
  expect(await page.context().cookies()).not.toContainEqual(expect.objectContaining({ name: "josoor_refresh" }));
});

test("on a slow network the sign-in is painted within 1.2 s and usable at once", async ({ server }, info) => {
  const browser = await chromium.launch(info.project.use.launchOptions);
  try {
    const times: number[] = [];
    for (let round = 0; round < 5; round += 1) {
      const page = await browser.newPage();
      await slowDown(page, server);
      await page.goto(`${server.url}/login`, { waitUntil: "commit" });
      await page.locator('input[name="password"]').fill("typed at once");
      times.push(
        await page.evaluate(
          () =>
            new Promise<number>((done) => {
              new PerformanceObserver((list) => {
                const paint = list.getEntriesByName("first-contentful-paint")[0];
                if (paint) done(paint.startTime);
              }).observe({ type: "paint", buffered: true });
            }),
        ),
      );
      await page.close();
    }
    const median = times.toSorted((a, b) => a - b)[2] ?? Number.POSITIVE_INFINITY;
    info.annotations.push({ type: "first paint", description: `${Math.round(median)} ms` });
    expect(median).toBeLessThan(1200);
  } finally {
    await browser.close();
  }
});
