import { AuthError, isAuthError } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { useState } from "react";
import { Link } from "wouter";
import { EmailField } from "../components/fields";
import { Form } from "../components/form";
import { MailHint } from "../components/notice";
import { type BadLink, badLink, LinkProblem, useLinkToken } from "../components/one-time-link";
import { Done, Page } from "../components/page";
import { config } from "../config";
import { useI18n } from "../i18n";

/** The link of the message about a sign-in from a new device. Opening it changes nothing; the form does. */
export function Secure() {
  const { t } = useI18n();
  const { client } = useAuth();
  const token = useLinkToken();
  const [bad, setBad] = useState<BadLink | null>(token ? null : "link_invalid");
  const [sentTo, setSentTo] = useState<string | null>(null);
  if (sentTo !== null) {
    return (
      <Page>
        <Done title={t("secure.done_title")}>
          <p>{t("secure.done", { email: sentTo })}</p>
          <MailHint isOn={config.devMail} />
        </Done>
      </Page>
    );
  }
  if (bad) {
    return (
      <LinkProblem bad={bad} kind="secure">
        <p className="actions">
          <Link className="button" href="/forgot-password">
            {t("secure.reset")}
          </Link>
          <Link href="/login">{t("login.title")}</Link>
        </p>
      </LinkProblem>
    );
  }
  return (
    <Page title="secure.title">
      <div className="card">
        <p>{t("secure.lead")}</p>
        <ul>
          <li>{t("secure.ends_sessions")}</li>
          <li>{t("secure.forgets_devices")}</li>
          <li>{t("secure.ends_links")}</li>
          <li>{t("secure.sends_reset")}</li>
        </ul>
        <Form
          submit={t("secure.submit")}
          onSubmit={async ({ email = "" }) => {
            try {
              await client.account.secure({ token: token ?? "", email: email.trim() });
            } catch (error) {
              const code = badLink(error);
              // The service does not tell a wrong address from a wrong link, and the address is easily mistyped.
              if (code === "link_invalid" && isAuthError(error))
                throw new AuthError({ kind: error.kind, code: "secure_mismatch", status: error.status });
              if (!code) throw error;
              setBad(code);
              return;
            }
            // This browser's session has ended if it was the account's; the service says so.
            if ((await client.ready()).status === "signed-in") await client.me().catch(() => {});
            setSentTo(email.trim());
          }}
        >
          <EmailField name="email" label={t("field.email")} hint={t("secure.email_hint")} required />
        </Form>
      </div>
    </Page>
  );
}
