// @vitest-environment jsdom
import { cleanup, render, screen, waitFor } from "@testing-library/react";
import { StrictMode } from "react";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type AuthClient, createAuthClient } from "../src";
import { AuthProvider, ProtectedRoute, Show, useAuth, useReturnTo } from "../src/react";
import { Service } from "./service";

let service: Service;
let client: AuthClient;
let runs = 0;

beforeEach(async () => {
  runs += 1;
  localStorage.clear();
  history.replaceState(null, "", "/");
  service = await new Service().start();
  client = createAuthClient({ baseUrl: service.url, storage: "localStorage", channel: `react-${runs}` });
});

afterEach(async () => {
  cleanup();
  client.dispose();
  await service.stop();
});

const signIn = () => client.login({ email: "user@example.com", password: "right" });

describe("in StrictMode", () => {
  it("mounting twice asks once, and shows who is there", async () => {
    await signIn();
    const again = createAuthClient({ baseUrl: service.url, storage: "localStorage", channel: `react-${runs}-again` });
    const Who = () => {
      const { user, status } = useAuth();
      return <p>{user?.email ?? status}</p>;
    };
    render(
      <StrictMode>
        <AuthProvider client={again}>
          <Who />
        </AuthProvider>
      </StrictMode>,
    );
    expect(screen.getByText("loading")).toBeTruthy();
    await screen.findByText("user@example.com");
    expect(service.count("/auth/refresh")).toBe(1);
    again.dispose();
  });
});

describe("ProtectedRoute", () => {
  function Route({ needs, navigate }: { needs?: "user" | "analyst" | "admin"; navigate: (to: string) => void }) {
    return (
      <StrictMode>
        <AuthProvider client={client}>
          <ProtectedRoute {...(needs ? { requiredRole: needs } : {})} navigate={navigate} loading={<p>waiting</p>}>
            <p>secret</p>
          </ProtectedRoute>
        </AuthProvider>
      </StrictMode>
    );
  }

  it("keeps the whole address for the way back, and shows nothing before", async () => {
    history.replaceState(null, "", "/chat/7?q=%D8%A7&x=1#end");
    const navigate = vi.fn();
    render(<Route navigate={navigate} />);
    expect(screen.queryByText("secret")).toBeNull();
    await waitFor(() => expect(navigate).toHaveBeenCalled());
    expect(navigate.mock.calls[0]?.[0]).toBe(`/login?return_to=${encodeURIComponent("/chat/7?q=%D8%A7&x=1#end")}`);
    expect(screen.queryByText("secret")).toBeNull();
  });

  it("has the server's order of roles", async () => {
    await signIn();
    const navigate = vi.fn();
    const { rerender } = render(<Route needs="user" navigate={navigate} />);
    await screen.findByText("secret");
    rerender(<Route needs="analyst" navigate={navigate} />);
    await waitFor(() => expect(navigate).toHaveBeenCalledWith("/unauthorized", { replace: true }));
    expect(screen.queryByText("secret")).toBeNull();
  });

  it("stays where it is while the service is away", async () => {
    await signIn();
    await service.stop();
    const navigate = vi.fn();
    const again = createAuthClient({ baseUrl: service.url, storage: "localStorage", channel: `react-${runs}-away` });
    render(
      <AuthProvider client={again}>
        <ProtectedRoute navigate={navigate} loading={<p>waiting</p>}>
          <p>secret</p>
        </ProtectedRoute>
      </AuthProvider>,
    );
    await again.ready();
    expect(screen.getByText("waiting")).toBeTruthy();
    expect(navigate).not.toHaveBeenCalled();
    again.dispose();
    await service.start();
  });
});

describe("Show and useReturnTo", () => {
  it("follow the state and the address", async () => {
    history.replaceState(null, "", "/login?return_to=%2F%2Fevil.example");
    const Back = () => <p>back to {useReturnTo("/home")}</p>;
    render(
      <AuthProvider client={client}>
        <Show when="signed-out">
          <p>signed out</p>
        </Show>
        <Show when={{ role: "admin" }} fallback={<p>no admin</p>}>
          <p>admin</p>
        </Show>
        <Back />
      </AuthProvider>,
    );
    await screen.findByText("signed out");
    expect(screen.getByText("back to /home")).toBeTruthy();
    await signIn();
    await waitFor(() => expect(screen.queryByText("signed out")).toBeNull());
    expect(screen.getByText("no admin")).toBeTruthy();
  });
});
