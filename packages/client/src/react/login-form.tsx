import type { ReactNode } from "react";
import type { User } from "../index";
import { type Navigate, useAuth, useReturnTo } from "./core";
import { EmailField, Form, type FormProps, PasswordField } from "./form";
import { useWords } from "./texts";

export interface LoginFormProps extends FormProps {
  /** Called after the sign-in, in place of going to `return_to`. */
  onSignedIn?: (user: User) => void;
  /** Where to go when this page's address has no `return_to`. */
  fallback?: string;
  /** Your router's function. */
  navigate?: Navigate;
  /** Where a forgotten password is reset: the service's own page by default; null for no link. */
  forgotPath?: string | null;
  /** Where an account is created; no link by default. */
  registerPath?: string | null;
  defaultEmail?: string;
}

/** Signs in with address and password, then goes where the visitor wanted to go. */
export function LoginForm({
  onSignedIn,
  fallback = "/",
  navigate = (to) => globalThis.location.replace(to),
  forgotPath = "/forgot-password",
  registerPath = null,
  defaultEmail,
  ...form
}: LoginFormProps): ReactNode {
  const { t } = useWords();
  const { login } = useAuth();
  const returnTo = useReturnTo(fallback);
  return (
    <Form
      {...form}
      submit={t("login.submit")}
      onSubmit={async ({ email = "", password = "" }) => {
        const user = await login({ email: email.trim(), password });
        if (onSignedIn) onSignedIn(user);
        else navigate(returnTo, { replace: true });
      }}
      fields={
        <>
          <EmailField defaultValue={defaultEmail} />
          <PasswordField />
        </>
      }
    >
      {(forgotPath || registerPath) && (
        <p className="ja-links">
          {forgotPath && <a href={forgotPath}>{t("login.forgot")}</a>}{" "}
          {registerPath && <a href={registerPath}>{t("login.register")}</a>}
        </p>
      )}
      {form.children}
    </Form>
  );
}
