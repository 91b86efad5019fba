import AxeBuilder from "@axe-core/playwright";
import type { Page } from "@playwright/test";
import { expect, PASSWORD, test } from "./server";

const clean = async (page: Page) => expect((await new AxeBuilder({ page }).analyze()).violations).toEqual([]);

/** An authenticator of this browser, and whether its user is there. */
async function authenticator(page: Page) {
  const session = await page.context().newCDPSession(page);
  await session.send("WebAuthn.enable");
  const { authenticatorId } = await session.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2",
      transport: "internal",
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  return (enabled: boolean) => session.send("WebAuthn.setAutomaticPresenceSimulation", { authenticatorId, enabled });
}

async function signOut(page: Page, url: string) {
  await page.goto(`${url}/sign-out`);
  await page.getByRole("button", { name: "Sign out" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "You're signed out" })).toBeVisible();
}

test("a passkey is added, signs in without an address and after the password, and is removed", async ({
  page,
  server,
}) => {
  const email = await server.newOwner();
  await server.signIn(page, email);
  const setPresent = await authenticator(page);
  await page.goto(`${server.url}/account/two-step`);
  const card = page.getByRole("region", { name: "Passkeys" });
  await card.getByRole("button", { name: "Add a passkey" }).click();
  await card.getByLabel("Current password", { exact: true }).fill("not this one");
  await card.getByRole("button", { name: "Continue" }).click();
  await expect(page.getByRole("alert")).toContainText("This is not your current password.");
  await card.getByLabel("Current password", { exact: true }).fill(PASSWORD);
  await card.getByRole("button", { name: "Continue" }).click();
  await expect(page.getByRole("region", { name: "Save your recovery codes" }).locator("li")).toHaveCount(10);
  await page.getByRole("button", { name: "I saved them" }).click();
  await card.getByRole("button", { name: /^Rename/ }).click();
  await page.getByLabel("Name", { exact: true }).fill("My laptop");
  await page.getByRole("button", { name: "Save" }).click();
  await expect(card.getByRole("heading", { level: 3, name: "My laptop" })).toBeVisible();
  await clean(page);

  // Offered by the browser at the field of the address: its user has nothing to type.
  await signOut(page, server.url);
  const back = `${server.url}/account/two-step`;
  await page.goto(`${server.url}/login?return_to=%2Faccount%2Ftwo-step`);
  await expect(page).toHaveURL(back);
  await expect(card.getByText("Last used")).toBeVisible();

  // With the button, as the second step of a password.
  await signOut(page, server.url);
  await setPresent(false);
  await page.goto(`${server.url}/login?return_to=%2Faccount%2Ftwo-step`);
  await expect(page.getByRole("button", { name: "Use a passkey" })).toBeVisible();
  await clean(page);
  await page.getByLabel("Email address").fill(email);
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "Enter your code" })).toBeVisible();
  await clean(page);
  await setPresent(true);
  await page.getByRole("button", { name: "Use a passkey" }).click();
  await expect(page).toHaveURL(back);

  await card.getByRole("button", { name: /^Remove/ }).click();
  await page.getByRole("button", { name: "Remove the passkey" }).click();
  await expect(card.getByRole("heading", { level: 3 })).toHaveCount(0);
  await expect(page.getByRole("heading", { name: "Recovery codes" })).toHaveCount(0);
});
