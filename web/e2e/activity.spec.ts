import { readFileSync } from "node:fs";
import AxeBuilder from "@axe-core/playwright";
import { expect, PASSWORD, test } from "./server";

const NEXT = "chosen after the report";

test("that was not me: everything else is signed out, a new password is asked for, and there is a receipt", async ({
  page,
  server,
  browser,
}) => {
  const email = await server.newOwner();
  await server.signIn(page, email);
  const intruder = await browser.newPage();
  await server.signIn(intruder, email);
  for (let time = 0; time < 3; time += 1)
    await page.request.post(`${server.url}/auth/login`, { data: { email, password: "a wrong one" } });

  await page.goto(`${server.url}/account/activity`);
  const question = page.getByRole("region", { name: "Was this you?" });
  await expect(question).toContainText(/A wrong password \W*3\W* times from/);
  await expect(page.getByText("You signed in from").first()).toBeVisible();

  // It was: nothing is asked any more, and it is part of the story.
  await question.getByRole("button", { name: "That was me", exact: true }).click();
  await expect(page.getByText("You confirmed that everything up to here was you.")).toBeVisible();
  await expect(page.getByText("Nothing needs your answer.")).toBeVisible();
  await page.reload();
  await expect(page.getByText("Nothing needs your answer.")).toBeVisible();

  // It was not: one press after one question.
  await page.request.post(`${server.url}/auth/login`, { data: { email, password: "another wrong one" } });
  await page.reload();
  await expect(page.getByRole("region", { name: "Was this you?" })).toBeVisible();
  await page.getByRole("button", { name: "That was not me" }).click();
  const dialog = page.getByRole("dialog", { name: "Secure your account?" });
  await expect(dialog.getByText("All your other sessions end now.")).toBeVisible();
  await dialog.getByRole("button", { name: "Secure my account" }).click();
  const done = page.getByRole("dialog", { name: "Your account is secured" });
  const receipt = (await done.getByText(/^Receipt/).textContent())?.match(/\d+/)?.[0] ?? "";
  // The intruder's, and the one that the registration opened.
  await expect(done.getByText(/2\W* other sessions ended/)).toBeVisible();
  expect((await new AxeBuilder({ page }).analyze()).violations).toEqual([]);
  await intruder.getByRole("link", { name: "Sessions" }).click();
  await expect(intruder).toHaveURL(/\/login/);
  await intruder.close();

  await done.getByLabel("Current password", { exact: true }).fill(PASSWORD);
  await done.getByLabel("New password", { exact: true }).fill(NEXT);
  await done.getByRole("button", { name: "Change the password" }).click();
  await expect(done.getByText("Your password is changed")).toBeVisible();
  await done.getByRole("button", { name: "Close" }).click();
  await expect(page.getByText(new RegExp(`Receipt \\W*${receipt}`))).toBeVisible();
  await expect(page.getByText("Nothing needs your answer.")).toBeVisible();
  expect((await server.mail(email, "reset_password")).link).toContain("/reset-password#token=");

  // The number of the receipt leads an administrator to the row.
  const admin = await browser.newPage();
  await server.signIn(
    admin,
    server.adminEmail,
    PASSWORD,
    "/login?return_to=%2Fconsole%2Faudit%3Faction%3Dactivity_report",
  );
  await admin
    .getByRole("button", { name: `Details of #${receipt}` })
    .or(admin.locator(".icon-button").first())
    .first()
    .click();
  await expect(admin.getByText(`#${receipt}`).first()).toBeVisible();
  await admin.close();
});

test("my data is one file, in Arabic as well", async ({ page, server }) => {
  const email = server.newUser("user", "نورة أحمد");
  await server.signIn(page, email);
  await page.getByLabel("Language").selectOption("ar");
  await page.getByRole("button", { name: "Save" }).click();
  await expect(page.locator("html")).toHaveAttribute("dir", "rtl");
  const [file] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "تنزيل بياناتي" }).click(),
  ]);
  expect(file.suggestedFilename()).toBe("josoor-account.json");
  const kept = JSON.parse(readFileSync(await file.path(), "utf8"));
  expect(kept.account).toMatchObject({ email, full_name: "نورة أحمد" });
  expect(kept.sessions).toHaveLength(1);
  await page.goto(`${server.url}/account/activity`);
  await expect(page.getByText("نزّلت بياناتك.")).toBeVisible();
  await expect(page.getByText("سجّلت الدخول من")).toBeVisible();
});
