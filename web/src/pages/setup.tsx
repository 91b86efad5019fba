import { useAuth } from "@josoor/auth/react";
import { useState } from "react";
import { Link } from "wouter";
import { EmailField, PasswordField, TextField } from "../components/fields";
import { Form } from "../components/form";
import { type BadLink, badLink, LinkProblem, useLinkToken } from "../components/one-time-link";
import { Done, Page } from "../components/page";
import { useI18n } from "../i18n";

/** The first administrator, by the link that the first start printed. */
export function Setup() {
  const { t, language } = useI18n();
  const { client } = useAuth();
  const token = useLinkToken();
  const [bad, setBad] = useState<BadLink | null>(token ? null : "link_invalid");
  const [isDone, setDone] = useState(false);
  if (bad) {
    return (
      <LinkProblem bad={bad} kind="setup">
        <Link href="/login">{t("login.title")}</Link>
      </LinkProblem>
    );
  }
  if (isDone) {
    return (
      <Page>
        <Done title={t("setup.done_title")}>
          <p>{t("setup.done")}</p>
          <Link className="button" href="/console">
            {t("console.title")}
          </Link>
        </Done>
      </Page>
    );
  }
  return (
    <Page title="setup.title">
      <div className="card">
        <p>{t("setup.lead")}</p>
        <Form
          submit={t("setup.submit")}
          onSubmit={async ({ email = "", password = "", full_name = "" }) => {
            const name = full_name.trim();
            const body = {
              token,
              email: email.trim(),
              password,
              locale: language,
              transport: "cookie",
              ...(name ? { full_name: name } : {}),
            };
            try {
              await client.request("POST", "/setup", { body });
            } catch (error) {
              const code = badLink(error);
              if (!code) throw error;
              setBad(code);
              return;
            }
            // The answer set the cookie; this makes use of it.
            await client.refresh();
            setDone(true);
          }}
        >
          <TextField name="full_name" label={t("field.full_name")} hint={t("field.optional")} autoComplete="name" />
          <EmailField name="email" label={t("field.email")} required />
          <PasswordField name="password" label={t("field.create_password")} isNew required />
        </Form>
      </div>
    </Page>
  );
}
