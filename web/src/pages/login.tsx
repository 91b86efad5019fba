import { isAuthError } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { useEffect, useState } from "react";
import { Link } from "wouter";
import { EmailField, PasswordField } from "../components/fields";
import { Form } from "../components/form";
import { MailHint, Notice } from "../components/notice";
import { Page } from "../components/page";
import { UnlessSignedIn, withReturnTo } from "../components/return-to";
import { config } from "../config";
import { moreTexts, useI18n } from "../i18n";

export function Login() {
  const { t, maybe } = useI18n();
  const { login, reason, client } = useAuth();
  const [email, setEmail] = useState("");
  const [unverified, setUnverified] = useState<string | null>(null);
  const hasReason = reason !== null && reason !== "signed_out";
  const [, setLoaded] = useState(false);
  useEffect(() => {
    // These words are not in the first load.
    if (hasReason)
      void moreTexts().then(
        () => setLoaded(true),
        () => {},
      );
  }, [hasReason]);
  const why = hasReason ? maybe(`reason.${reason}`) : undefined;
  return (
    <Page title="login.title">
      <UnlessSignedIn>
        {why && <Notice>{why}</Notice>}
        <div className="card">
          <Form
            submit={t("login.submit")}
            onSubmit={async ({ email = "", password = "" }) => {
              setUnverified(null);
              try {
                await login({ email: email.trim(), password });
              } catch (error) {
                // The words for rarer failures are not in the first load.
                const isAnswer = isAuthError(error) && (error.status !== null || error.code === "cookies_blocked");
                if (isAnswer && error.kind !== "invalid_credentials") await moreTexts().catch(() => {});
                if (isAuthError(error, "email_not_verified")) setUnverified(email.trim());
                throw error;
              }
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
        {unverified && (
          <div className="card">
            <p>{t("login.unverified", { email: unverified })}</p>
            <Form
              key={unverified}
              submit={t("login.send_verification")}
              done={t("form.sent")}
              onSubmit={() => client.email.resend(unverified)}
            />
            <MailHint isOn={config.devMail} />
          </div>
        )}
        {config.registration !== "closed" && (
          <p className="below">
            {t("login.no_account")} <Link href={withReturnTo("/register")}>{t("login.register")}</Link>
          </p>
        )}
      </UnlessSignedIn>
    </Page>
  );
}
