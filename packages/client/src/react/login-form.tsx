import { type ReactNode, useEffect, useRef, useState } from "react";
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

/**
 * Signs in with address and password, and a second factor where there is one, or with a passkey; then goes where the visitor wanted to
 * go. Passkeys are offered where the browser has them, at the field of the address, too.
 */
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
  // The latest, for what the browser offers while the form is shown.
  const onSignedInNow = useRef(signedIn);
  onSignedInNow.current = signedIn;
  useEffect(() => {
    if (waiting) return;
    const stop = new AbortController();
    void (async () => {
      if (!(await client.passkeys.isOfferedInFields()) || stop.signal.aborted) return;
      onSignedInNow.current(await client.passkeys.signIn({ mediation: "conditional", signal: stop.signal }));
    })().catch(() => {});
    return () => stop.abort();
  }, [client, waiting]);
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
        {waiting.passkey && (
          <PasskeyButton
            onUse={async () => {
              if (!waiting.passkey) return;
              const assertion = await client.passkeys.use(waiting.passkey);
              signedIn(await client.mfa({ flow: waiting.flow, method: "passkey", assertion }));
            }}
          />
        )}
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
          <EmailField defaultValue={defaultEmail} autoComplete="username webauthn" />
          <PasswordField />
        </>
      }
    >
      <PasskeyButton onUse={async () => signedIn(await client.passkeys.signIn())} />
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

/** Asks for a passkey, where the browser has any. */
function PasskeyButton({ onUse }: { onUse: () => Promise<void> }): ReactNode {
  const { t } = useWords();
  const { client } = useAuth();
  const [problem, setProblem] = useState("");
  // After the first picture, which a server may have made.
  const [isShown, setShown] = useState(false);
  useEffect(() => setShown(client.passkeys.isSupported()), [client]);
  if (!isShown) return null;
  const use = () => {
    setProblem("");
    onUse().catch((error: unknown) => {
      const isKnown = isAuthError(error, "passkey_unknown") || isAuthError(error, "passkey_unverified");
      setProblem(t(isKnown ? `error.${error.code as "passkey_unknown" | "passkey_unverified"}` : "passkey.failed"));
    });
  };
  return (
    <>
      <p className="ja-links">
        <button type="button" className="ja-show" onClick={use}>
          {t("passkey.use")}
        </button>
      </p>
      {problem && (
        <p className="ja-problem" role="alert">
          {problem}
        </p>
      )}
    </>
  );
}
