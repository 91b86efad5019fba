import { useAuth, useReturnTo } from "@josoor/auth/react";
import { type ReactNode, useEffect, useState } from "react";
import { Link } from "wouter";
import { EmailField, PasswordField } from "../components/fields";
import { Form } from "../components/form";
import { Loading, Notice, Page } from "../components/layout";
import { at, config } from "../config";
import { useI18n } from "../i18n";

/** Where to go from here, with the way back kept. */
export function withReturnTo(path: string): string {
  const search = new URLSearchParams(location.search).get("return_to");
  return search ? `${path}?return_to=${encodeURIComponent(search)}` : path;
}

/**
 * Goes back to where the sign-in began, once somebody is signed in: here or, meanwhile, in another tab. A full load, because the place
 * may be a page of another program of this site.
 */
export function UnlessSignedIn({ children }: { children: ReactNode }) {
  const { status, connectivity } = useAuth();
  const returnTo = useReturnTo(at("/account"));
  useEffect(() => {
    if (status === "signed-in") location.replace(returnTo);
  }, [status, returnTo]);
  if (status === "signed-in" || (status === "loading" && connectivity === "online")) return <Loading />;
  return children;
}

export function Login() {
  const { t, maybe } = useI18n();
  const { login, reason } = useAuth();
  const [email, setEmail] = useState("");
  const why = reason && reason !== "signed_out" ? maybe(`reason.${reason}`) : undefined;
  return (
    <Page title="login.title">
      <UnlessSignedIn>
        {why && <Notice>{why}</Notice>}
        <div className="card">
          <Form
            submit={t("login.submit")}
            onSubmit={async ({ email = "", password = "" }) => {
              await login({ email: email.trim(), password });
            }}
          >
            <div onInput={(event) => setEmail((event.target as HTMLInputElement).value)}>
              <EmailField name="email" label={t("field.email")} required autoFocus />
            </div>
            <PasswordField name="password" label={t("field.password")} required />
            <p className="beside">
              <Link href={withReturnTo("/forgot-password")} state={{ email }}>
                {t("login.forgot")}
              </Link>
            </p>
          </Form>
        </div>
        {config.registration !== "closed" && (
          <p className="below">
            {t("login.no_account")} <Link href={withReturnTo("/register")}>{t("login.register")}</Link>
          </p>
        )}
      </UnlessSignedIn>
    </Page>
  );
}
