import { type ReactNode, useEffect, useRef, useState } from "react";
import type { User } from "../index";
import { type Navigate, useAuth, useReturnTo } from "./core";
import { EmailField, Form, type FormProps, PasswordField, TextField } from "./form";
import { useWords } from "./texts";

export interface RegisterFormProps extends FormProps {
  /** Called once the account exists and is signed in, in place of going to `return_to`. */
  onSignedIn?: (user: User) => void;
  /** Where to go when this page's address has no `return_to`. */
  fallback?: string;
  /** Your router's function. */
  navigate?: Navigate;
  /** Where to sign in instead; no link by default. */
  loginPath?: string | null;
  /** The service's `password.min_length`, for the hint. */
  passwordMinLength?: number;
  /** Whether to ask for a name. */
  hasName?: boolean;
}

/** Creates an account. Where the service wants the address verified first, it says so in place of the form. */
export function RegisterForm({
  onSignedIn,
  fallback = "/",
  navigate = (to) => globalThis.location.replace(to),
  loginPath = null,
  passwordMinLength = 8,
  hasName = true,
  ...form
}: RegisterFormProps): ReactNode {
  const { t, language, dir } = useWords();
  const { register } = useAuth();
  const returnTo = useReturnTo(fallback);
  const [sentTo, setSentTo] = useState<string | null>(null);
  const sent = useRef<HTMLParagraphElement>(null);
  // The form is gone; what is to be done next is read out.
  useEffect(() => {
    if (sentTo !== null) sent.current?.focus();
  }, [sentTo]);
  if (sentTo !== null)
    return (
      <p className="ja-sent" ref={sent} tabIndex={-1} lang={language} dir={dir}>
        {t("register.sent", { email: sentTo })}
      </p>
    );
  return (
    <Form
      {...form}
      submit={t("register.submit")}
      onSubmit={async ({ email = "", password = "", full_name = "" }) => {
        const result = await register({
          email: email.trim(),
          password,
          full_name: full_name.trim() || null,
          locale: language,
        });
        if (result.status !== "signed-in") setSentTo(email.trim());
        else if (onSignedIn) onSignedIn(result.user);
        else navigate(returnTo, { replace: true });
      }}
      fields={
        <>
          {hasName && (
            <TextField
              name="full_name"
              label={t("field.full_name")}
              hint={t("field.optional")}
              autoComplete="name"
              maxLength={200}
            />
          )}
          <EmailField />
          <PasswordField isNew hint={t("password.rule", { count: passwordMinLength })} />
        </>
      }
    >
      {loginPath && (
        <p className="ja-links">
          <a href={loginPath}>{t("register.login")}</a>
        </p>
      )}
      {form.children}
    </Form>
  );
}
