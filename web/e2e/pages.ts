import type { Page } from "@playwright/test";
import { expect, PASSWORD, type Server } from "./server";

/** Every page, and how to get it to show what there is to see. */
export const PAGES: [
  name: string,
  path: string | ((server: Server) => Promise<string>),
  as: "visitor" | "user" | "admin",
  act?: (page: Page) => Promise<void>,
][] = [
  ["login", "/login", "visitor"],
  [
    "login-failed",
    "/login",
    "visitor",
    async (page) => {
      await page.locator('input[name="email"]').fill("unknown@example.com");
      await page.locator('input[name="password"]').fill("wrong");
      await page.locator('form button[type="submit"]').click();
      await page.getByRole("alert").waitFor();
    },
  ],
  ["register", "/register", "visitor"],
  [
    "register-failed",
    "/register",
    "visitor",
    async (page) => {
      await page.locator('form button[type="submit"]').click();
      await page.getByRole("alert").waitFor();
    },
  ],
  ["login-code", "/login-code", "visitor"],
  ["forgot", "/forgot-password", "visitor"],
  [
    "forgot-sent",
    "/forgot-password",
    "visitor",
    async (page) => {
      await page.locator('input[name="email"]').fill("unknown@example.com");
      await page.locator('form button[type="submit"]').click();
      await page.locator("h1[tabindex]").waitFor();
    },
  ],
  ["link", "/reset-password", "visitor"],
  ["reset", (server) => linkOf(server, "reset_password"), "visitor"],
  [
    "reset-failed",
    (server) => linkOf(server, "reset_password"),
    "visitor",
    async (page) => {
      await page.locator('input[name="new_password"]').fill("12345678");
      await page.locator('form button[type="submit"]').click();
      await page.getByRole("alert").waitFor();
    },
  ],
  ["reset-invalid", "/reset-password#token=x", "visitor"],
  ["invitation", (server) => linkOf(server, "invitation"), "visitor"],
  ["verify", (server) => linkOf(server, "verify_email"), "visitor"],
  ["undo", (server) => linkOf(server, "account_deletion"), "visitor"],
  ["undo-invalid", "/undo#token=x", "visitor"],
  ["secure", (server) => linkOf(server, "new_device"), "visitor"],
  [
    "secure-mismatch",
    (server) => linkOf(server, "new_device"),
    "visitor",
    async (page) => {
      await page.locator('input[name="email"]').fill("unknown@example.com");
      await page.locator('form button[type="submit"]').click();
      await page.getByRole("alert").waitFor();
    },
  ],
  ["setup", "/setup", "visitor"],
  ["sign-out", "/sign-out", "visitor"],
  ["signed-out", "/signed-out", "visitor"],
  ["unauthorized", "/unauthorized", "user"],
  ["not-found", "/no/such/page", "visitor"],
  ["error-page", "/errors/session_revoked", "visitor"],
  ["account", "/account", "user"],
  ["account-password", "/account/password", "user"],
  ["account-email", "/account/email", "user"],
  ["account-two-step", "/account/two-step", "user"],
  ["account-sessions", "/account/sessions", "user"],
  [
    "account-sessions-dialog",
    "/account/sessions",
    "user",
    async (page) => {
      await page.locator(".button.risky").click();
      await page.getByRole("dialog").waitFor();
    },
  ],
  ["account-devices", "/account/devices", "user"],
  [
    "account-devices-dialog",
    "/account/devices",
    "user",
    async (page) => {
      await page.locator(".button.risky").click();
      await page.getByRole("dialog").waitFor();
    },
  ],
  ["account-activity", "/account/activity", "user"],
  [
    "account-activity-report",
    "/account/activity",
    "user",
    async (page) => {
      await page.locator(".button.risky").click();
      await page.getByRole("dialog").waitFor();
    },
  ],
  [
    "account-delete",
    "/account/delete",
    "user",
    async (page) => {
      await page.locator("main .card > .button").click();
      await page.locator('input[name="password"]').waitFor();
    },
  ],
  ["console", "/console", "admin"],
  [
    "console-users",
    "/console/users",
    "admin",
    async (page) => {
      await page.locator("tbody input[type=checkbox]").first().check();
    },
  ],
  [
    "console-invite",
    "/console/users",
    "admin",
    async (page) => {
      await page.locator(".actions > .button").first().click();
      await page.getByRole("dialog").waitFor();
    },
  ],
  ["console-user", "/console/users/1", "admin"],
  ["console-user-missing", "/console/users/987654321", "admin"],
  ["console-user-security", "/console/users/1?tab=security", "admin"],
  ["console-user-sessions", "/console/users/1?tab=sessions", "admin"],
  ["console-user-activity", "/console/users/1?tab=activity", "admin"],
  [
    "console-users-menu",
    "/console/users",
    "admin",
    async (page) => {
      await page.locator("tbody .icon-button").first().click();
      await page.locator(".menu.placed .menu-item").first().waitFor();
    },
  ],
  ["console-audit", "/console/audit", "admin"],
  ["console-outbox", "/console/outbox", "admin"],
  ["console-keys", "/console/service", "admin"],
  ["console-branding", "/console/service/branding", "admin"],
  [
    "offline",
    "/account",
    "user",
    async (page) => {
      await page.route("**/auth/**", (route) => route.abort("connectionrefused"));
      await page.reload();
      // It stays away: a page that recovers by itself meanwhile is another one.
      await page.locator("main .card .button").waitFor();
    },
  ],
];

/** The link of a message, without its host. */
async function linkOf(
  server: Server,
  kind: "reset_password" | "invitation" | "verify_email" | "account_deletion" | "new_device",
): Promise<string> {
  const send = async (method: string, path: string, body: object, headers: Record<string, string> = {}) => {
    const answer = await fetch(server.url + path, {
      method,
      headers: { "Content-Type": "application/json", ...headers },
      body: JSON.stringify(body),
    });
    expect(answer.ok, `${path}: ${answer.status}`).toBe(true);
    return answer.status === 204 ? "" : (((await answer.json()) as { access_token?: string }).access_token ?? "");
  };
  const signIn = (email: string, headers: Record<string, string> = {}) =>
    send("POST", "/auth/login", { email, password: PASSWORD }, headers);
  const email = kind === "invitation" || kind === "verify_email" ? server.newEmail(kind) : await server.newOwner();
  if (kind === "reset_password") await send("POST", "/auth/password/forgot", { email });
  if (kind === "verify_email") await send("POST", "/auth/register", { email, password: PASSWORD });
  if (kind === "invitation")
    await send("POST", "/admin/users", { email }, { Authorization: `Bearer ${await signIn(server.adminEmail)}` });
  if (kind === "account_deletion")
    await send("DELETE", "/auth/me", { password: PASSWORD }, { Authorization: `Bearer ${await signIn(email)}` });
  if (kind === "new_device") {
    await signIn(email);
    await signIn(email, { "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0" });
  }
  return ((await server.mail(email, kind)).link ?? "").replace(server.url, "");
}
