import { useAuth } from "@josoor/auth/react";
import { useState } from "react";
import { Link } from "wouter";
import { EmailField, PasswordField } from "../components/fields";
import { Form } from "../components/form";
import { Notice, Page } from "../components/layout";
import { UnlessSignedIn, withReturnTo } from "../components/return-to";
import { config } from "../config";
import { useI18n } from "../i18n";

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
