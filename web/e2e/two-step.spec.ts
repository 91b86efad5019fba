import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import AxeBuilder from "@axe-core/playwright";
import type { Page } from "@playwright/test";
import { expect, PASSWORD, test } from "./server";

/** The code that an authenticator app shows at a time (RFC 6238). */
function codeAt(secret: string, milliseconds: number): string {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const bits = [...secret].map((letter) => alphabet.indexOf(letter).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from((bits.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(milliseconds / 30_000)));
  const mac = createHmac("sha1", key).update(step).digest();
  const at = (mac[19] ?? 0) & 15;
  return String((mac.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

const clean = async (page: Page) => expect((await new AxeBuilder({ page }).analyze()).violations).toEqual([]);

test("an authenticator app is set up, asked for at the next sign-in, and turned off", async ({ page, server }) => {
  const email = await server.newOwner();
  await server.signIn(page, email);
  await page.getByRole("link", { name: "Two-step verification" }).click();
  await page.getByLabel("Current password", { exact: true }).fill("not this one");
  await page.getByRole("button", { name: "Set up the app" }).click();
  await expect(page.getByRole("alert")).toContainText("This is not your current password.");
  await page.getByLabel("Current password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Set up the app" }).click();
  await expect(page.getByRole("img", { name: "QR code for the authenticator app" })).toBeVisible();
  await clean(page);
  const secret = (await page.locator("bdi.code").first().textContent()) ?? "";
  await page.getByLabel("Code", { exact: true }).fill("000000");
  await page.getByRole("button", { name: "Turn on" }).click();
  await expect(page.getByRole("alert")).toContainText("This code isn't valid.");
  await page.getByLabel("Code", { exact: true }).fill(codeAt(secret, Date.now()));
  await page.getByRole("button", { name: "Turn on" }).click();
  const listed = page.getByRole("region", { name: "Save your recovery codes" }).locator("li");
  await expect(listed).toHaveCount(10);
  const codes = await listed.allTextContents();
  expect(new Set(codes).size).toBe(10);
  await clean(page);
  // Kept as a file, or on a sheet of paper with nothing else on it: each names the account.
  const [file] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Download" }).click(),
  ]);
  const kept = readFileSync(await file.path(), "utf8");
  for (const part of [email, ...codes]) expect(kept).toContain(part);
  await page.emulateMedia({ media: "print" });
  await expect(page.getByRole("region", { name: "Save your recovery codes" })).toContainText(email);
  await expect(listed.first()).toBeVisible();
  await expect(page.getByText("Authenticator app")).toBeHidden();
  await page.emulateMedia({ media: null });
  await page.getByRole("button", { name: "I saved them" }).click();
  await expect(page.getByText(/10\W* codes left/)).toBeVisible();

  // The next sign-in asks for a code, and takes a recovery code.
  await page.goto(`${server.url}/sign-out`);
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.goto(`${server.url}/login?return_to=%2Faccount%2Ftwo-step`);
  await page.getByLabel("Email address").fill(email);
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "Enter your code" })).toBeVisible();
  await clean(page);
  await page.reload();
  await page.getByLabel("Code").fill("123");
  await page.getByRole("button", { name: "Continue" }).click();
  await expect(page.getByRole("alert")).toContainText("Enter the six digits");
  await page.getByLabel("Code").fill(codes[0] ?? "");
  await page.getByRole("button", { name: "Continue" }).click();
  await expect(page).toHaveURL(`${server.url}/account/two-step`);
  await expect(page.getByText(/9\W* codes left/)).toBeVisible();

  await page.getByRole("button", { name: "Create new codes" }).click();
  await expect(page.getByRole("heading", { name: "Save your recovery codes" })).toBeFocused();

  await page.getByRole("button", { name: "Turn off…" }).click();
  await page.getByRole("button", { name: "Turn off the app" }).click();
  await expect(page.getByRole("button", { name: "Set up the app" })).toBeVisible();
});

test("without JavaScript, in Arabic: the code is asked for, and a wrong one can be corrected", async ({
  browser,
  page,
  server,
}) => {
  const email = await server.newOwner();
  await server.signIn(page, email);
  await page.goto(`${server.url}/account/two-step`);
  await page.getByLabel("Current password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Set up the app" }).click();
  const secret = (await page.locator("bdi.code").first().textContent()) ?? "";
  await page.getByLabel("Code", { exact: true }).fill(codeAt(secret, Date.now()));
  await page.getByRole("button", { name: "Turn on" }).click();
  const listed = page.getByRole("region", { name: "Save your recovery codes" }).locator("li");
  await expect(listed).toHaveCount(10);
  const codes = await listed.allTextContents();

  const plain = await browser.newPage({ javaScriptEnabled: false, locale: "ar-SA" });
  await plain.goto(`${server.url}/login?return_to=%2Fsigned-out`);
  await plain.locator('input[name="email"]').fill(email);
  await plain.locator('input[name="password"]').fill(PASSWORD);
  await plain.getByRole("button", { name: "تسجيل الدخول", exact: true }).click();
  await expect(plain.getByRole("heading", { level: 1, name: "أدخل الرمز" })).toBeVisible();
  await plain.locator('input[name="code"]').fill("٠٠٠٠٠٠");
  await plain.getByRole("button", { name: "متابعة" }).click();
  await expect(plain.getByRole("alert")).toContainText("الرمز غير صالح");
  await plain.locator('input[name="code"]').fill(codes[1] ?? "");
  await plain.getByRole("button", { name: "متابعة" }).click();
  await expect(plain).toHaveURL(`${server.url}/signed-out`);
  await plain.close();
});
