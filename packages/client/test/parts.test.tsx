// @vitest-environment jsdom
import { cleanup, fireEvent, render, screen, waitFor, within } from "@testing-library/react";
import { type ReactNode, StrictMode } from "react";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type AuthClient, createAuthClient } from "../src";
import { AuthProvider, LoginForm, RegisterForm, SessionsList, TextsProvider, UserButton } from "../src/react";
import { Service } from "./service";

let service: Service;
let client: AuthClient;
let runs = 0;

beforeEach(async () => {
  runs += 1;
  localStorage.clear();
  history.replaceState(null, "", "/");
  document.documentElement.lang = "en";
  service = await new Service().start();
  client = createAuthClient({ baseUrl: service.url, storage: "localStorage", channel: `parts-${runs}` });
});

afterEach(async () => {
  cleanup();
  client.dispose();
  await service.stop();
});

const show = (part: ReactNode) =>
  render(
    <StrictMode>
      <AuthProvider client={client}>{part}</AuthProvider>
    </StrictMode>,
  );
const fill = (label: string | RegExp, value: string) =>
  fireEvent.input(screen.getByLabelText(label), { target: { value } });
/** What is isolated for the direction of writing, without the marks. */
const plain = (text: string | null | undefined) => (text ?? "").replace(/[\u2066-\u2069]/g, "");

describe("LoginForm", () => {
  it("signs in, and goes where the visitor wanted to go", async () => {
    history.replaceState(null, "", "/login?return_to=%2Freports%3Fq%3D1");
    const navigate = vi.fn();
    show(<LoginForm navigate={navigate} />);
    const [email, password] = [screen.getByLabelText("Email address"), screen.getByLabelText("Password")];
    expect(email.getAttribute("autocomplete")).toBe("username webauthn");
    expect(password.getAttribute("autocomplete")).toBe("current-password");
    expect([email.dir, password.dir]).toEqual(["ltr", "ltr"]);
    fill("Email address", " user@example.com ");
    fill("Password", "right");
    fireEvent.click(screen.getByRole("button", { name: "Sign in" }));
    await waitFor(() => expect(navigate).toHaveBeenCalledWith("/reports?q=1", { replace: true }));
    expect(client.state.user?.email).toBe("user@example.com");
  });

  it("asks for the code of a second factor, and begins again when the sign-in is over", async () => {
    const onSignedIn = vi.fn();
    const waits = {
      code: "mfa_required",
      detail: "A code is needed.",
      flow: "flow-1",
      methods: ["totp"],
      expires_in: 600,
    };
    const asks = { status: 403, body: waits };
    service.instead["/auth/login"] = [asks, { ...asks, body: { ...waits, flow: "flow-2" } }, asks];
    show(<LoginForm onSignedIn={onSignedIn} />);
    const givePassword = () => {
      fill("Email address", "user@example.com");
      fill("Password", "right");
      fireEvent.click(screen.getByRole("button", { name: "Sign in" }));
    };
    const giveCode = (code: string) => {
      fill("Code", code);
      fireEvent.click(screen.getByRole("button", { name: "Continue" }));
    };
    givePassword();
    const field = await screen.findByLabelText("Code");
    expect([field.getAttribute("autocomplete"), field.dir]).toEqual(["one-time-code", "ltr"]);
    giveCode("000000");
    expect((await screen.findByRole("alert")).textContent).toContain("This code isn't valid.");
    fireEvent.click(screen.getByRole("button", { name: "Sign in with another account" }));
    givePassword();
    await screen.findByLabelText("Code");
    // This one is over.
    giveCode("123456");
    expect((await screen.findByRole("alert")).textContent).toContain("took too long");
    givePassword();
    await screen.findByLabelText("Code");
    giveCode("123456");
    await waitFor(() => expect(onSignedIn).toHaveBeenCalledWith(expect.objectContaining({ id: 1 })));
  });

  it("takes the code from a mail, however its digits are spelled, and says which one it wants", async () => {
    const onSignedIn = vi.fn();
    const waits = { code: "mfa_required", detail: "", flow: "flow-1", methods: ["mail_code"], expires_in: 600 };
    service.instead["/auth/login"] = [{ status: 403, body: waits }];
    service.code = "١٢٣٤ ٥٦٧٨";
    show(<LoginForm onSignedIn={onSignedIn} />);
    fill("Email address", "user@example.com");
    fill("Password", "right");
    fireEvent.click(screen.getByRole("button", { name: "Sign in" }));
    const field = await screen.findByLabelText("Code");
    const hint = document.getElementById(field.getAttribute("aria-describedby") ?? "");
    expect(hint?.textContent).toBe("The 8 digits that we emailed you.");
    const giveCode = (code: string) => {
      fill("Code", code);
      fireEvent.click(screen.getByRole("button", { name: "Continue" }));
    };
    service.instead["/auth/login/mfa"] = [{ status: 401, body: { code: "mail_code_invalid", detail: "" } }];
    giveCode("0000-0000");
    expect((await screen.findByRole("alert")).textContent).toContain("Enter the one from the newest email.");
    expect(service.bodies.at(-1)).toMatchObject({ flow: "flow-1", method: "mail_code", code: "0000-0000" });
    giveCode(service.code);
    await waitFor(() => expect(onSignedIn).toHaveBeenCalledWith(expect.objectContaining({ id: 1 })));
    expect(service.bodies.at(-1)).toMatchObject({ flow: "flow-1", method: "mail_code", code: service.code });
  });

  it("never leaves this site for return_to", async () => {
    history.replaceState(null, "", "/login?return_to=https%3A%2F%2Fevil.example%2F");
    const navigate = vi.fn();
    show(<LoginForm navigate={navigate} fallback="/home" />);
    fill("Email address", "user@example.com");
    fill("Password", "right");
    fireEvent.click(screen.getByRole("button", { name: "Sign in" }));
    await waitFor(() => expect(navigate).toHaveBeenCalledWith("/home", { replace: true }));
  });

  it("says what is missing before anything is sent, with the focus on the summary", async () => {
    show(<LoginForm />);
    fill("Email address", "no address");
    fireEvent.click(screen.getByRole("button", { name: "Sign in" }));
    const alert = await screen.findByRole("alert");
    await waitFor(() => expect(document.activeElement).toBe(alert));
    expect(
      within(alert)
        .getAllByRole("link")
        .map(({ textContent }) => textContent),
    ).toEqual(["Email address: Enter an email address like name@example.com.", "Password: Fill in this field."]);
    const email = screen.getByLabelText("Email address");
    expect(email.getAttribute("aria-invalid")).toBe("true");
    const described = email.getAttribute("aria-describedby") ?? "";
    expect(document.getElementById(described)?.textContent).toContain("Enter an email address");
    fireEvent.click(within(alert).getByText(/^Password/));
    expect(document.activeElement).toBe(screen.getByLabelText("Password"));
    expect(service.count("/auth/login")).toBe(0);
    // What is being corrected is wrong no longer.
    fill("Email address", "user@example.com");
    expect(email.getAttribute("aria-invalid")).toBeNull();
  });

  it("keeps the address and empties the password when they do not match", async () => {
    show(<LoginForm />);
    fill("Email address", "user@example.com");
    fill("Password", "wrong");
    fireEvent.click(screen.getByRole("button", { name: "Show: Password" }));
    expect(screen.getByLabelText("Password").getAttribute("type")).toBe("text");
    fireEvent.click(screen.getByRole("button", { name: "Sign in" }));
    const alert = await screen.findByRole("alert");
    expect(alert.textContent).toContain("do not match");
    await waitFor(() => expect(document.activeElement).toBe(alert));
    expect((screen.getByLabelText("Email address") as HTMLInputElement).value).toBe("user@example.com");
    const password = screen.getByLabelText("Password") as HTMLInputElement;
    expect([password.value, password.type]).toEqual(["", "password"]);
  });

  const limited = (seconds: number) => {
    service.instead["/auth/login"] = [
      {
        status: 429,
        body: { code: "rate_limited", detail: "", status: 429 },
        headers: { "retry-after": String(seconds) },
      },
    ];
  };

  it("counts a limit down, and sends nothing meanwhile", async () => {
    limited(40);
    show(<LoginForm />);
    fill("Email address", "user@example.com");
    fill("Password", "right");
    const button = screen.getByRole("button", { name: "Sign in" });
    fireEvent.click(button);
    const alert = await screen.findByRole("alert");
    expect(plain(alert.textContent)).toMatch(/Try again in (40|3\d) seconds\./);
    expect(button.getAttribute("aria-disabled")).toBe("true");
    expect((button as HTMLButtonElement).disabled).toBe(false);
    fireEvent.click(button);
    expect(service.count("/auth/login")).toBe(1);
    await waitFor(() => expect(plain(alert.textContent)).toMatch(/Try again in 3\d seconds\./), { timeout: 5000 });
  });

  it("says when a limit is over, and signs in then", async () => {
    limited(1);
    const onSignedIn = vi.fn();
    show(<LoginForm onSignedIn={onSignedIn} />);
    fill("Email address", "user@example.com");
    fill("Password", "right");
    const button = screen.getByRole("button", { name: "Sign in" });
    fireEvent.click(button);
    await screen.findByText("You can try again now.", {}, { timeout: 5000 });
    fireEvent.click(button);
    await waitFor(() => expect(onSignedIn).toHaveBeenCalledWith(expect.objectContaining({ id: 1 })));
  });

  it("is in Arabic where the page is, from right to left, with addresses from left to right", async () => {
    document.documentElement.lang = "ar";
    show(<LoginForm registerPath="/register" />);
    const form = screen.getByRole("button", { name: "تسجيل الدخول" }).closest("form");
    expect([form?.lang, form?.dir]).toEqual(["ar", "rtl"]);
    expect(screen.getByLabelText("البريد الإلكتروني").dir).toBe("ltr");
    expect(screen.getByRole("link", { name: "نسيت كلمة المرور؟" }).getAttribute("href")).toBe("/forgot-password");
    fill("كلمة المرور", "كلمة");
    expect(screen.queryByText("أنت تكتب بحروف عربية.")).toBeNull();
    fill("البريد الإلكتروني", "user@example.com");
    fireEvent.click(screen.getByRole("button", { name: "تسجيل الدخول" }));
    expect((await screen.findByRole("alert")).textContent).toContain("غير صحيحة");
  });

  it("warns of the other keyboard where a row of dots hides it", () => {
    show(<LoginForm />);
    fill("Password", "كلمة");
    expect(screen.getByText("You are typing Arabic letters.")).toBeTruthy();
  });

  it("takes words of the application's own, and another language than the page's", () => {
    show(
      <TextsProvider language="ar" texts={{ "login.submit": "ادخل" }}>
        <LoginForm forgotPath={null} className="mine">
          <p>below</p>
        </LoginForm>
      </TextsProvider>,
    );
    expect(screen.getByRole("button", { name: "ادخل" }).closest("form")?.className).toBe("ja-form mine");
    expect(screen.queryByRole("link")).toBeNull();
    expect(screen.getByText("below")).toBeTruthy();
  });
});

describe("RegisterForm", () => {
  it("creates an account in the language of the page", async () => {
    document.documentElement.lang = "ar-SA";
    const navigate = vi.fn();
    show(<RegisterForm navigate={navigate} fallback="/welcome" />);
    fill("البريد الإلكتروني", "new@example.com");
    fill("أنشئ كلمة مرور", "a whole sentence");
    fireEvent.click(screen.getByRole("button", { name: "إنشاء الحساب" }));
    await waitFor(() => expect(navigate).toHaveBeenCalledWith("/welcome", { replace: true }));
    expect(service.bodies.at(-1)).toMatchObject({ email: "new@example.com", full_name: null, locale: "ar" });
  });

  it("says beside each field what the service refuses", async () => {
    service.instead["/auth/register"] = [
      {
        status: 422,
        body: {
          code: "validation_failed",
          detail: "",
          errors: [
            { field: "password", code: "password_too_common", message: "?" },
            { field: "email", code: "something_new", message: "What the service says." },
          ],
        },
      },
    ];
    show(<RegisterForm />);
    fill("Email address", "new@example.com");
    fill("Create a password", "password");
    fireEvent.click(screen.getByRole("button", { name: "Create account" }));
    const alert = await screen.findByRole("alert");
    await waitFor(() => expect(document.activeElement).toBe(alert));
    expect(within(alert).getByText(/Create a password: This password is too common/)).toBeTruthy();
    expect(within(alert).getByText("Email address: What the service says.")).toBeTruthy();
    expect((screen.getByLabelText("Create a password") as HTMLInputElement).value).toBe("password");
  });

  it("says where the link went when the address has to be verified first", async () => {
    service.instead["/auth/register"] = [{ status: 202, body: { success: true, message: "", timestamp: "" } }];
    show(<RegisterForm />);
    fill("Email address", "new@example.com");
    fill("Create a password", "a whole sentence");
    fireEvent.click(screen.getByRole("button", { name: "Create account" }));
    const sent = await screen.findByText(/We emailed a link/);
    expect(plain(sent.textContent)).toContain("to new@example.com.");
    await waitFor(() => expect(document.activeElement).toBe(sent));
  });
});

describe("UserButton", () => {
  it("is nothing for visitors, and a menu for users that the keyboard closes", async () => {
    show(
      <UserButton accountPath="/me">
        <a href="/settings">Settings</a>
      </UserButton>,
    );
    expect(screen.queryByRole("button")).toBeNull();
    await client.login({ email: "user@example.com", password: "right" });
    const button = await screen.findByRole("button", { name: /Account of .*user@example.com/ });
    expect(button.textContent).toBe("U");
    expect(button.getAttribute("aria-expanded")).toBe("false");
    fireEvent.click(button);
    expect(button.getAttribute("aria-expanded")).toBe("true");
    expect(screen.getByRole("link", { name: "My account" }).getAttribute("href")).toBe("/me");
    expect(screen.getByRole("link", { name: "Settings" })).toBeTruthy();
    fireEvent.keyDown(document, { key: "Escape" });
    expect(button.getAttribute("aria-expanded")).toBe("false");
    expect(document.activeElement).toBe(button);
    fireEvent.click(button);
    fireEvent.pointerDown(document.body);
    expect(button.getAttribute("aria-expanded")).toBe("false");
  });

  it("signs out", async () => {
    const onSignedOut = vi.fn();
    await client.login({ email: "user@example.com", password: "right" });
    show(<UserButton onSignedOut={onSignedOut} />);
    fireEvent.click(await screen.findByRole("button", { name: /Account of/ }));
    fireEvent.click(screen.getByRole("button", { name: "Sign out" }));
    await waitFor(() => expect(onSignedOut).toHaveBeenCalled());
    expect(client.state.status).toBe("signed-out");
    expect(screen.queryByRole("button")).toBeNull();
  });
});

describe("SessionsList", () => {
  it("has this device first, and ends another one after a question", async () => {
    const other = createAuthClient({ baseUrl: service.url, storage: "memory", channel: `parts-${runs}-other` });
    await other.login({ email: "user@example.com", password: "right" });
    await client.login({ email: "user@example.com", password: "right" });
    show(<SessionsList />);
    const items = await screen.findAllByRole("listitem");
    expect(items).toHaveLength(2);
    expect(items[0]?.textContent).toContain("This device");
    expect(within(items[0] as HTMLElement).queryByRole("button")).toBeNull();

    fireEvent.click(within(items[1] as HTMLElement).getByRole("button", { name: /Sign out on/ }));
    const question = screen.getByRole("group");
    await waitFor(() => expect(document.activeElement).toBe(question));
    fireEvent.click(within(question).getByRole("button", { name: "Cancel" }));
    expect(screen.queryByRole("group")).toBeNull();
    fireEvent.click(screen.getByRole("button", { name: /Sign out on/ }));
    fireEvent.click(screen.getByRole("button", { name: "Yes, sign out" }));
    await waitFor(() => expect(screen.getAllByRole("listitem")).toHaveLength(1));
    expect(plain(screen.getByRole("status").textContent)).toBe("Signed out on Firefox on Linux.");
    await expect(other.me()).rejects.toMatchObject({ code: "session_revoked" });
    other.dispose();
  });

  it("says why it cannot be shown, and tries again", async () => {
    await client.login({ email: "user@example.com", password: "right" });
    service.instead["/auth/sessions"] = [{ status: 503 }, { status: 503 }];
    show(<SessionsList />);
    await waitFor(() => expect(screen.getByRole("alert").textContent).toContain("isn't responding"));
    await waitFor(() => expect(service.instead["/auth/sessions"]).toEqual([]));
    fireEvent.click(screen.getByRole("button", { name: "Try again now" }));
    await screen.findByText("This device");
    expect(screen.queryByRole("alert")).toBeNull();
  });
});
