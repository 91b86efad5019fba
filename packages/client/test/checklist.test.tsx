// @vitest-environment jsdom
import { cleanup, fireEvent, render, screen, waitFor } from "@testing-library/react";
import axios, { type AxiosInstance } from "axios";
import { type FormEvent, StrictMode, useEffect, useState } from "react";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type AuthClient, createAuthClient, isAuthError } from "../src";
import { attachAuth } from "../src/axios";
import { AuthProvider, ProtectedRoute, useAuth, useReturnTo } from "../src/react";
import { Service } from "./service";

/**
 * An application as the platform's document outlines one, put together from this package: service, interceptor, login and register
 * form, protected route, routing.
 */
let service: Service;
let auth: AuthClient;
let api: AxiosInstance;
let runs = 0;

function usePath(): [string, (to: string) => void] {
  const [path, setPath] = useState(location.pathname);
  const navigate = (to: string) => {
    history.pushState(null, "", to);
    setPath(location.pathname);
  };
  return [path, navigate];
}

function CredentialsForm({ action, onDone }: { action: "login" | "register"; onDone: () => void }) {
  const { login, register } = useAuth();
  const [error, setError] = useState("");
  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const input = { email: String(form.get("email")), password: String(form.get("password")) };
    try {
      await (action === "login" ? login(input) : register(input));
      onDone();
    } catch (failure) {
      // Always a string: an object here would take the whole page down.
      setError(isAuthError(failure) ? failure.errors[0]?.message || failure.detail || failure.code : "failed");
    }
  };
  return (
    <form onSubmit={submit}>
      <p role="alert">{error}</p>
      <input name="email" aria-label="Email" />
      <input name="password" aria-label="Password" type="password" />
      <button type="submit">{action}</button>
    </form>
  );
}

function Dashboard() {
  const { user, logout } = useAuth();
  const [chat, setChat] = useState("");
  useEffect(() => {
    api.get("/chat").then(
      ({ data }) => setChat(String(data.path)),
      () => setChat("failed"),
    );
  }, []);
  return (
    <>
      <p>{`hello ${user?.email}`}</p>
      <p>{`chat ${chat}`}</p>
      <button type="button" onClick={() => void logout()}>
        logout
      </button>
    </>
  );
}

function App() {
  const [path, navigate] = usePath();
  const returnTo = useReturnTo("/dashboard");
  if (path === "/login") return <CredentialsForm action="login" onDone={() => navigate(returnTo)} />;
  if (path === "/register") return <CredentialsForm action="register" onDone={() => navigate(returnTo)} />;
  if (path === "/unauthorized") return <p>not for you</p>;
  return (
    <ProtectedRoute navigate={navigate} {...(path === "/admin" ? { requiredRole: "admin" as const } : {})}>
      <Dashboard />
    </ProtectedRoute>
  );
}

beforeEach(async () => {
  runs += 1;
  localStorage.clear();
  service = await new Service().start();
  auth = createAuthClient({ baseUrl: service.url, storage: "localStorage", channel: `checklist-${runs}` });
  api = axios.create({ baseURL: service.url, adapter: "fetch" });
  attachAuth(api, auth);
});

afterEach(async () => {
  cleanup();
  auth.dispose();
  await service.stop();
});

function open(path: string) {
  history.replaceState(null, "", path);
  render(
    <StrictMode>
      <AuthProvider client={auth}>
        <App />
      </AuthProvider>
    </StrictMode>,
  );
}

async function fill(email: string, password: string, button: string) {
  fireEvent.change(await screen.findByLabelText("Email"), { target: { value: email } });
  fireEvent.change(screen.getByLabelText("Password"), { target: { value: password } });
  fireEvent.click(screen.getByText(button));
}

describe("the platform's front-end checklist", () => {
  it("login end to end, with the deep link kept; refresh on 401; logout", async () => {
    open("/reports/7?tab=2");
    await fill("user@example.com", "wrong", "login");
    await waitFor(() => expect(screen.getByRole("alert").textContent).toBe("about invalid_credentials"));
    await fill("user@example.com", "right", "login");
    await screen.findByText("hello user@example.com");
    expect(location.pathname + location.search).toBe("/reports/7?tab=2");
    await screen.findByText("chat /chat");
    expect(localStorage.getItem("josoor_access_token")).toBeTruthy();

    service.expireAll();
    const answers = await Promise.all(Array.from({ length: 5 }, () => api.get("/chat")));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200]);
    expect(service.count("/auth/refresh")).toBe(1);

    fireEvent.click(screen.getByText("logout"));
    await screen.findByText("login");
    expect(localStorage.getItem("josoor_access_token")).toBeNull();
    expect(localStorage.getItem("josoor_user")).toBeNull();
    await waitFor(() => expect(service.count("/auth/logout")).toBe(1));
  });

  it("register, and a field that is refused", async () => {
    open("/register");
    const errors = [{ field: "password", code: "password_too_short", message: "too short" }];
    service.instead["/auth/register"] = [{ status: 422, body: { code: "validation_failed", detail: "no", errors } }];
    await fill("new@example.com", "short", "register");
    await waitFor(() => expect(screen.getByRole("alert").textContent).toBe("too short"));
    await fill("new@example.com", "long enough", "register");
    await screen.findByText("hello new@example.com");
  });

  it("a role that is too low", async () => {
    await auth.login({ email: "user@example.com", password: "right" });
    open("/admin");
    await screen.findByText("not for you");
  });
});
