import { useAuth } from "@josoor/auth/react";
import { useState } from "react";
import { Link } from "wouter";
import { Form } from "../components/form";
import { MailHint } from "../components/notice";
import { type BadLink, badLink, LinkProblem, useLinkToken } from "../components/one-time-link";
import { Done, Page } from "../components/page";
import { config } from "../config";
import { useI18n } from "../i18n";

/** The link of a message about a change of the address or a deletion. Opening it changes nothing; the button does. */
export function Undo() {
  const { t } = useI18n();
  const { client } = useAuth();
  const token = useLinkToken();
  const [bad, setBad] = useState<BadLink | null>(token ? null : "link_invalid");
  const [done, setDone] = useState<{ recovery_required: boolean } | null>(null);
  if (done) {
    return (
      <Page>
        <Done title={t("undo.done_title")}>
          <p>{t(done.recovery_required ? "undo.done_recovery" : "undo.done")}</p>
          {done.recovery_required ? (
            <MailHint isOn={config.devMail} />
          ) : (
            <Link className="button" href="/login">
              {t("login.title")}
            </Link>
          )}
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
            let undone: { recovery_required: boolean };
            try {
              undone = await client.account.undo({ token: token ?? "" });
            } catch (error) {
              const code = badLink(error);
              if (!code) throw error;
              setBad(code);
              return;
            }
            // This browser's session has ended if it was the account's; the service says so.
            if ((await client.ready()).status === "signed-in") await client.me().catch(() => {});
            setDone(undone);
          }}
        />
      </div>
    </Page>
  );
}
