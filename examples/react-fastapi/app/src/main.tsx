import { createAuthClient } from "@josoor/auth";
import {
  AuthProvider,
  LoginForm,
  ProtectedRoute,
  RegisterForm,
  SessionsList,
  UserButton,
  useAuth,
  useUser,
} from "@josoor/auth/react";
import "@josoor/auth/react.css";
import { StrictMode, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";

const SERVICE: string = import.meta.env.VITE_AUTH_URL ?? "http://localhost:8000";
const auth = createAuthClient({ baseUrl: SERVICE });

/** What the back end answers, which verifies the token itself. */
function Answer({ path }: { path: string }) {
  const { client } = useAuth();
  const [text, setText] = useState("…");
  useEffect(() => {
    client
      .fetch(path)
      .then((answer) => answer.text())
      .then(setText, () => setText("The back end does not answer."));
  }, [client, path]);
  return (
    <p>
      <code>{path}</code>: <output>{text}</output>
    </p>
  );
}

function Dashboard() {
  const user = useUser();
  return (
    <main>
      <UserButton accountPath={`${SERVICE}/account`} />
      <h1>Hello, {user?.email}</h1>
      <Answer path="/api/hello" />
      <Answer path="/api/reports" />
      <SessionsList />
    </main>
  );
}

function Page() {
  switch (location.pathname) {
    case "/login":
      return (
        <main>
          <h1>Sign in</h1>
          <LoginForm registerPath="/register" forgotPath={`${SERVICE}/forgot-password`} />
        </main>
      );
    case "/register":
      return (
        <main>
          <h1>Create an account</h1>
          <RegisterForm loginPath="/login" />
        </main>
      );
    default:
      return (
        <ProtectedRoute loading={<p>Loading…</p>} unavailable={<p>Connecting…</p>}>
          <Dashboard />
        </ProtectedRoute>
      );
  }
}

const root = document.getElementById("root");
if (root)
  createRoot(root).render(
    <StrictMode>
      <AuthProvider client={auth}>
        <Page />
      </AuthProvider>
    </StrictMode>,
  );
