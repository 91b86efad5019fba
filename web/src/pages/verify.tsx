import { isAuthError } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { useState } from "react";
import { Link } from "wouter";
import { PasswordField } from "../components/fields";
import { Form } from "../components/form";
import { MailHint } from "../components/notice";
import { type BadLink, badLink, LinkProblem, useLinkToken } from "../components/one-time-link";
import { Done, Page } from "../components/page";
import { config } from "../config";
import { useI18n } from "../i18n";

/** Opening the link changes nothing; pressing the button does. Mail programs open links by themselves. */
export function Verify() {
  const { t } = useI18n();
  const { client, status } = useAuth();
  const token = useLinkToken();
  const [bad, setBad] = useState<BadLink | null>(token ? null : "link_invalid");
  const [wantsPassword, setWantsPassword] = useState(false);
  const [isDone, setDone] = useState(false);
  if (isDone) {
    return (
      <Page>
        <Done title={t("verify.done_title")}>
          <p>{t("verify.done")}</p>
          <Link className="button" href="/account">
            {t("verify.continue")}
          </Link>
        </Done>
      </Page>
    );
  }
  if (bad) {
    return (
      <LinkProblem bad={bad} kind="verify">
        {status === "signed-in" ? (
          <Form submit={t("verify.new_link")} done={t("form.sent")} onSubmit={() => client.email.resend()} />
        ) : (
          <p className="actions">
            <Link className="button" href="/login?return_to=%2Faccount%2Femail">
              {t("login.title")}
            </Link>
          </p>
        )}
        <MailHint isOn={config.devMail} />
      </LinkProblem>
    );
  }
  return (
    <Page title="verify.title">
      <div className="card">
        <p>{t(wantsPassword ? "verify.lead_password" : "verify.lead")}</p>
        <Form
          submit={t("verify.submit")}
          onSubmit={async ({ password = "" }) => {
            try {
              await client.email.verify({ token: token ?? "", ...(password ? { password } : {}) });
              if ((await client.ready()).status === "signed-in") await client.me().catch(() => {});
              setDone(true);
            } catch (error) {
              const code = badLink(error);
              // Not for every link: the owner's own session is enough, and taking a change back needs neither.
              const isAsked = isAuthError(error) && error.errors.some(({ field }) => field === "password");
              if (code) setBad(code);
              else if (isAsked && !wantsPassword) setWantsPassword(true);
              else throw error;
            }
          }}
        >
          {wantsPassword && <PasswordField name="password" label={t("verify.password")} required />}
        </Form>
        {wantsPassword && (
          <p className="beside">
            <Link href="/forgot-password">{t("verify.unknown_password")}</Link>
          </p>
        )}
      </div>
    </Page>
  );
}
