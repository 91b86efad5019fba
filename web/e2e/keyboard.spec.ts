import type { Page } from "@playwright/test";
import { expect, PASSWORD, test } from "./server";

/** Goes on with the Tab key until something with this name has the focus. */
async function tabTo(page: Page, name: string | RegExp, role?: string) {
  for (let presses = 0; presses < 80; presses += 1) {
    await page.keyboard.press("Tab");
    const focused = await page.evaluate(() => {
      const element = document.activeElement as HTMLElement | null;
      const label =
        element instanceof HTMLInputElement || element instanceof HTMLSelectElement
          ? element.labels?.[0]?.textContent
          : null;
      return {
        name: (element?.getAttribute("aria-label") ?? label ?? element?.textContent ?? "").trim(),
        tag: element?.tagName.toLowerCase(),
      };
    });
    if (
      (typeof name === "string" ? focused.name === name : name.test(focused.name)) &&
      (!role || focused.tag === role)
    ) {
      // A keyboard's user has to see where the focus is.
      const outlines = await page.evaluate(() => {
        const active = document.activeElement as Element;
        // A password's is around the field with its button.
        return [active, active.parentElement as Element].map((element) => getComputedStyle(element).outlineStyle);
      });
      expect(outlines.some((outline) => outline !== "none")).toBe(true);
      return;
    }
  }
  throw new Error(`nothing called ${name} on the way`);
}

test("register, sign out, sign in and change the password without a mouse", async ({ page, server }) => {
  const email = server.newEmail("keys");
  await page.goto(`${server.url}/login`);
  await expect(page.getByLabel("Email address")).toBeFocused();
  await tabTo(page, "Create one", "a");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { name: "Create an account" })).toBeVisible();
  await tabTo(page, "Email address", "input");
  await page.keyboard.type(email);
  await tabTo(page, "Create a password", "input");
  await page.keyboard.type("kurz");
  await page.keyboard.press("Enter");
  // The summary gets the focus, and its link leads to the field.
  await expect(page.getByRole("alert")).toBeFocused();
  await expect(page).toHaveTitle(/^Error: /);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await expect(page.getByLabel("Create a password")).toBeFocused();
  await page.keyboard.press("Control+A");
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Space");
  await expect(page.getByLabel("Create a password")).toHaveAttribute("type", "text");
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { level: 1, name: "Profile" })).toBeVisible();
  await tabTo(page, "Change password", "a");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { level: 1, name: "Change password" })).toBeVisible();
  await tabTo(page, "Current password", "input");
  await page.keyboard.type(PASSWORD);
  await tabTo(page, "New password", "input");
  await page.keyboard.type(`${PASSWORD} and more`);
  await page.keyboard.press("Enter");
  await expect(page.getByText("Your password is changed")).toBeVisible();
  await page.keyboard.press("Shift+Tab");
  await page.evaluate(() => document.querySelector<HTMLElement>(".skip")?.focus());
  await tabTo(page, /^Menu of/, "button");
  await page.keyboard.press("Enter");
  await tabTo(page, "Sign out", "button");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { name: "You're signed out" })).toBeVisible();
});

test("an administrator finds and deactivates a user without a mouse", async ({ page, server }) => {
  const email = server.newUser();
  await server.signIn(page, server.adminEmail, PASSWORD, "/login?return_to=%2Fconsole%2Fusers");
  await expect(page.getByText(/\d\W* users$/)).toBeVisible();
  await page.keyboard.press("/");
  await page.keyboard.type(email);
  await page.keyboard.press("Enter");
  await expect(page.getByText(/1\W* user$/)).toBeVisible();
  await tabTo(page, email, "a");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { level: 1, name: email })).toBeVisible();
  await tabTo(page, "Security", "a");
  await page.keyboard.press("Enter");
  await tabTo(page, "Deactivate", "button");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("dialog")).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(page.getByRole("dialog")).toHaveCount(0);
  // The focus comes back to where the question was asked.
  await expect(page.getByRole("button", { name: "Deactivate" })).toBeFocused();
  await page.keyboard.press("Enter");
  await tabTo(page, "Deactivate", "button");
  await page.keyboard.press("Enter");
  await expect(page.getByText("The account is deactivated.")).toBeVisible();
  // What one request takes back can be undone where it is reported.
  await tabTo(page, "Undo", "button");
  await page.keyboard.press("Enter");
  await expect(page.getByRole("status").filter({ hasText: "The account is active." })).toBeVisible();
  await expect(page.getByText("Active", { exact: true })).toBeVisible();
});

test("Caps Lock is reported, and a password can be pasted", async ({ page, server }) => {
  await page.goto(`${server.url}/login`);
  const password = page.getByLabel("Password", { exact: true });
  await password.focus();
  await password.evaluate((element) => {
    const event = new KeyboardEvent("keydown", {
      key: "A",
      bubbles: true,
      modifierCapsLock: true,
    } as KeyboardEventInit);
    element.dispatchEvent(event);
  });
  await expect(page.getByText("Caps Lock is on.")).toBeVisible();
  await password.evaluate((element) => {
    const data = new DataTransfer();
    data.setData("text/plain", "pasted");
    const event = new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
    if (!element.dispatchEvent(event)) throw new Error("pasting is stopped");
  });
});
