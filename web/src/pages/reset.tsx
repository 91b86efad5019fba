import { AuthError, isAuthError } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { useState } from "react";
import { Link } from "wouter";
import { PasswordField } from "../components/fields";
import { Form } from "../components/form";
import { type BadLink, badLink, LinkProblem, useLinkToken } from "../components/one-time-link";
import { Done, Page } from "../components/page";
import { useI18n } from "../i18n";

export function Reset() {
  const { t } = useI18n();
  const { client, logout } = useAuth();
  const token = useLinkToken();
  const [bad, setBad] = useState<BadLink | null>(token ? null : "link_invalid");
  const [isBlocked, setBlocked] = useState(false);
  const [isDone, setDone] = useState(false);
  if (isDone) {
    return (
      <Page>
        <Done title={t("reset.done_title")}>
          <p>{t("reset.done")}</p>
          <Link className="button" href="/login">
            {t("login.title")}
          </Link>
        </Done>
      </Page>
    );
  }
  if (bad) {
    return (
      <LinkProblem bad={bad} kind="reset">
        <p className="actions">
          <Link className="button" href="/forgot-password">
            {t("reset.new_link")}
          </Link>
          <Link href="/login">{t("login.title")}</Link>
        </p>
      </LinkProblem>
    );
  }
  return (
    <Page title="reset.title">
      <div className="card">
        <p>{t(isBlocked ? "reset.lead_blocked" : "reset.lead")}</p>
        <Form
          submit={t("reset.submit")}
          onSubmit={async ({ new_password = "", previous_password = "" }) => {
            try {
              await client.password.reset({
                token: token ?? "",
                new_password,
                ...(previous_password ? { previous_password } : {}),
              });
            } catch (error) {
              const code = badLink(error);
              if (code) setBad(code);
              // After a change of the address was taken back, something from before the change is needed as well.
              else if (isAuthError(error, "recovery_blocked") && !isBlocked) setBlocked(true);
              else if (isAuthError(error, "invalid_credentials"))
                throw new AuthError({ kind: error.kind, code: "reset_mismatch", status: error.status });
              else throw error;
              return;
            }
            // The session of this browser ended with all others.
            if ((await client.ready()).status === "signed-in") await logout().catch(() => {});
            setDone(true);
          }}
        >
          {isBlocked && <PasswordField name="previous_password" label={t("reset.previous_password")} required />}
          <PasswordField name="new_password" label={t("field.new_password")} isNew required />
        </Form>
      </div>
    </Page>
  );
}
