import { useAuth, useUser } from "@josoor/auth/react";
import { useState } from "react";
import { EmailField, PasswordField } from "../components/fields";
import { Form } from "../components/form";
import { MailHint, Notice } from "../components/notice";
import { suggestedEmail } from "../components/suggestion";
import { config } from "../config";
import { useI18n } from "../i18n";

export function ChangeEmail() {
  const { t } = useI18n();
  const { client } = useAuth();
  const user = useUser();
  const [pending, setPending] = useState<string | null>(null);
  const [isSent, setSent] = useState(false);
  if (!user) return null;
  return (
    <>
      <Notice kind={user.email_verified ? "done" : "note"}>
        <p>{t(user.email_verified ? "email_page.verified" : "profile.unverified", { email: user.email })}</p>
        {!user.email_verified &&
          (isSent ? (
            <p>{t("profile.verification_sent", { email: user.email })}</p>
          ) : (
            <Form
              submit={t("profile.send_verification")}
              onSubmit={async () => {
                await client.email.resend();
                setSent(true);
              }}
            />
          ))}
      </Notice>
      {pending !== null && (
        <Notice kind="note" title={t("email_page.pending_title")}>
          <p>{t("email_page.pending", { email: pending })}</p>
          <MailHint isOn={config.devMail} />
        </Notice>
      )}
      <div className="card">
        <p>{t("email_page.lead")}</p>
        <Form
          key={pending}
          passwordField="password"
          submit={t("email_page.submit")}
          onSubmit={async ({ new_email = "", password = "" }) => {
            await client.email.change({ new_email: new_email.trim(), password });
            setPending(new_email.trim());
          }}
        >
          <EmailField
            name="new_email"
            label={t("field.new_email")}
            autoComplete="email"
            required
            suggest={suggestedEmail}
          />
          <PasswordField name="password" label={t("field.current_password")} required />
        </Form>
      </div>
    </>
  );
}
