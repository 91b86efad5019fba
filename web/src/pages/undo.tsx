import { useAuth } from "@josoor/auth/react";
import { useState } from "react";
import { Link } from "wouter";
import { Form } from "../components/form";
import { Done, MailHint, Page } from "../components/layout";
import { type BadLink, badLink, LinkProblem, useLinkToken } from "../components/link";
import { config } from "../config";
import { useI18n } from "../i18n";

/** The link of a message about a change of the address or a deletion. Opening it changes nothing; the button does. */
export function Undo() {
  const { t } = useI18n();
  const { client, status } = useAuth();
  const token = useLinkToken();
  const [bad, setBad] = useState<BadLink | null>(token ? null : "link_invalid");
  const [isDone, setDone] = useState(false);
  if (isDone) {
    return (
      <Page>
        <Done title={t("undo.done_title")}>
          <p>{t("undo.done_deletion")}</p>
          <p>{t("undo.done_address")}</p>
          <p className="actions">
            <Link className="button" href="/login">
              {t("login.title")}
            </Link>
          </p>
          <MailHint isOn={config.devMail} />
        </Done>
      </Page>
    );
  }
  if (bad) {
    return (
      <LinkProblem bad={bad} kind="undo">
        <p className="actions">
          <Link className="button" href="/login">
            {t("login.title")}
          </Link>
          <Link href="/forgot-password">{t("login.forgot")}</Link>
        </p>
      </LinkProblem>
    );
  }
  return (
    <Page title="undo.title">
      <div className="card">
        <p>{t("undo.lead")}</p>
        <ul>
          <li>{t("undo.ends_sessions")}</li>
          <li>{t("undo.address")}</li>
        </ul>
        <Form
          submit={t("undo.submit")}
          onSubmit={async () => {
            try {
              await client.account.undo({ token: token ?? "" });
            } catch (error) {
              const code = badLink(error);
              if (!code) throw error;
              setBad(code);
              return;
            }
            // This browser's session has ended if it was the account's; the service says so.
            if (status === "signed-in") await client.me().catch(() => {});
            setDone(true);
          }}
        />
      </div>
    </Page>
  );
}
