import { useAuth } from "@josoor/auth/react";
import { useState } from "react";
import { Link } from "wouter";
import { CheckInbox } from "../components/check-inbox";
import { EmailField, PasswordField, TextField } from "../components/fields";
import { Form } from "../components/form";
import { Notice } from "../components/notice";
import { Page } from "../components/page";
import { UnlessSignedIn, withReturnTo } from "../components/return-to";
import { suggestedEmail } from "../components/suggestion";
import { config } from "../config";
import { useI18n } from "../i18n";

export function Register() {
  const { t, language } = useI18n();
  const { register, client } = useAuth();
  const [sentTo, setSentTo] = useState<string | null>(null);
  if (sentTo !== null) {
    return (
      <CheckInbox
        kind="register"
        email={sentTo}
        onAgain={() => client.email.resend(sentTo)}
        onOther={() => setSentTo(null)}
      />
    );
  }
  if (config.registration === "closed") {
    return (
      <Page title="register.title">
        <Notice>
          <p>{t("error.registration_closed")}</p>
        </Notice>
        <p className="below">
          <Link href={withReturnTo("/login")}>{t("login.title")}</Link>
        </p>
      </Page>
    );
  }
  return (
    <Page title="register.title">
      <UnlessSignedIn>
        <div className="card">
          <Form
            submit={t("register.submit")}
            help={{
              email_taken: (
                <p className="actions">
                  <Link href={withReturnTo("/login")}>{t("login.title")}</Link>
                  <Link href={withReturnTo("/forgot-password")}>{t("login.forgot")}</Link>
                </p>
              ),
            }}
            onSubmit={async ({ email = "", password = "", full_name = "" }) => {
              const answer = await register({
                email: email.trim(),
                password,
                locale: language,
                ...(full_name.trim() ? { full_name: full_name.trim() } : {}),
              });
              if (answer.status === "verification-required") setSentTo(email.trim());
            }}
          >
            <TextField name="full_name" label={t("field.full_name")} hint={t("field.optional")} autoComplete="name" />
            <EmailField name="email" label={t("field.email")} required suggest={suggestedEmail} />
            <PasswordField name="password" label={t("field.create_password")} isNew required />
          </Form>
        </div>
        <p className="below">
          {t("register.have_account")} <Link href={withReturnTo("/login")}>{t("login.title")}</Link>
        </p>
      </UnlessSignedIn>
    </Page>
  );
}
