import { type ReactNode, useState } from "react";
import { isAuthError, type MfaNeeded, type User } from "../index";
import { type Navigate, useAuth, useReturnTo } from "./core";
import { EmailField, Form, type FormProps, PasswordField, TextField } from "./form";
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

/** Signs in with address and password, and the code of a second factor where there is one; then goes where the visitor wanted to go. */
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
  const { login, client } = useAuth();
  const returnTo = useReturnTo(fallback);
  const [waiting, setWaiting] = useState<MfaNeeded | null>(null);
  const [isOver, setOver] = useState(false);
  const signedIn = (user: User) => {
    if (onSignedIn) onSignedIn(user);
    else navigate(returnTo, { replace: true });
  };
  if (waiting)
    return (
      <Form
        // A form of its own: nothing that was typed before is in it.
        key={waiting.flow}
        {...form}
        submit={t("code.submit")}
        onSubmit={async ({ code = "" }) => {
          // By the number of digits, in whatever way they are spelled: the app's have six, a mail's eight.
          const digits = code.replace(/[\s-]/g, "");
          const method = /^\p{Nd}{6}$/u.test(digits)
            ? "totp"
            : /^\p{Nd}{8}$/u.test(digits)
              ? "mail_code"
              : "recovery_code";
          try {
            signedIn(await client.mfa({ flow: waiting.flow, method, code }));
          } catch (error) {
            if (!isAuthError(error, "flow_expired")) throw error;
            setOver(true);
            setWaiting(null);
          }
        }}
        fields={
          <TextField
            name="code"
            label={t("field.code")}
            hint={t(waiting.methods.includes("mail_code") ? "code.hint_mail" : "code.hint")}
            dir="ltr"
            autoComplete="one-time-code"
            autoCapitalize="none"
            spellCheck={false}
            autoFocus
            required
          />
        }
      >
        <p className="ja-links">
          <button type="button" className="ja-show" onClick={() => setWaiting(null)}>
            {t("code.back")}
          </button>
        </p>
      </Form>
    );
  return (
    <Form
      {...form}
      submit={t("login.submit")}
      onSubmit={async ({ email = "", password = "" }) => {
        try {
          signedIn(await login({ email: email.trim(), password }));
        } catch (error) {
          if (!isAuthError(error) || !error.mfa) throw error;
          setOver(false);
          setWaiting(error.mfa);
        }
      }}
      fields={
        <>
          {isOver && (
            <p className="ja-problem" role="alert">
              {t("error.flow_expired")}
            </p>
          )}
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
