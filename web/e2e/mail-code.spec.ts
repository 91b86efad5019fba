import AxeBuilder from "@axe-core/playwright";
import type { Page } from "@playwright/test";
import { expect, test, withServer } from "./server";

const clean = async (page: Page) => expect((await new AxeBuilder({ page }).analyze()).violations).toEqual([]);

test("a code by mail signs in; its link signs in only the browser that asked", async ({ page, browser }) => {
  await withServer({ JOSOOR_AUTH__LOGIN__MAIL_CODE: "true" }, async (server) => {
    const email = await server.newOwner();
    await page.goto(`${server.url}/login?return_to=%2Faccount%2Factivity`);
    await page.getByRole("link", { name: "Sign in with a code by email" }).click();
    await clean(page);
    await page.getByLabel("Email address").fill(email);
    await page.getByRole("button", { name: "Send the code" }).click();
    await expect(page.getByRole("heading", { level: 1, name: "Enter the code" })).toBeVisible();
    await clean(page);
    const mail = await server.mail(email, "sign_in_code");
    const link = mail.link ?? "";

    // Elsewhere, such as on a phone or in a scanner that runs scripts, the link shows the code.
    const phone = await (await browser.newContext({ locale: "ar-SA" })).newPage();
    await phone.goto(link);
    await expect(phone.getByRole("heading", { level: 1, name: "رمزك" })).toBeVisible();
    await clean(phone);
    const code = (await phone.locator("strong").textContent()) ?? "";
    expect(code).toMatch(/^\d{4} \d{4}$/);
    expect((await phone.context().cookies()).map(({ name }) => name)).not.toContain("josoor_refresh");
    await phone.context().close();

    await page.reload();
    await page.getByLabel("The 8 digits from the email").fill("0000 0000");
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
    await expect(page.getByRole("alert")).toContainText("This code isn't valid.");
    await page.getByLabel("The 8 digits from the email").fill(code);
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
    await expect(page).toHaveURL(`${server.url}/account/activity`);

    // Without JavaScript, in Arabic: the link is pasted in the browser that asked.
    const plain = await browser.newPage({ javaScriptEnabled: false, locale: "ar-SA" });
    await plain.goto(`${server.url}/login-code?return_to=%2Fsigned-out`);
    await plain.locator('input[name="email"]').fill(email);
    await plain.getByRole("button", { name: "إرسال الرمز" }).click();
    await expect(plain.getByRole("heading", { level: 1, name: "أدخل الرمز" })).toBeVisible();
    await expect
      .poll(async () => (await server.mail(email, "sign_in_code")).link, { message: "the next mail" })
      .not.toBe(link);
    await plain.goto(`${server.url}/login-link`);
    await plain.locator('input[name="link"]').fill((await server.mail(email, "sign_in_code")).link ?? "");
    await plain.getByRole("button", { name: "متابعة" }).click();
    await expect(plain.getByText(email)).toBeVisible();
    await plain.getByRole("button", { name: "تسجيل الدخول", exact: true }).click();
    await expect(plain).toHaveURL(`${server.url}/signed-out`);
    await plain.close();
  });
});
