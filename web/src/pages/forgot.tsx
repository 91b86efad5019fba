import { useAuth } from "@josoor/auth/react";
import { useState } from "react";
import { Link } from "wouter";
import { useHistoryState } from "wouter/use-browser-location";
import { CheckInbox } from "../components/check-inbox";
import { EmailField } from "../components/fields";
import { Form } from "../components/form";
import { Page } from "../components/page";
import { withReturnTo } from "../components/return-to";
import { useI18n } from "../i18n";

export function Forgot() {
  const { t } = useI18n();
  const { client } = useAuth();
  const typed = useHistoryState<{ email?: string } | null>()?.email ?? "";
  const [sentTo, setSentTo] = useState<string | null>(null);
  if (sentTo !== null) {
    return (
      <CheckInbox
        kind="forgot"
        email={sentTo}
        onAgain={() => client.password.forgot(sentTo)}
        onOther={() => setSentTo(null)}
      />
    );
  }
  return (
    <Page title="forgot.title">
      <div className="card">
        <p>{t("forgot.lead")}</p>
        <Form
          submit={t("forgot.submit")}
          onSubmit={async ({ email = "" }) => {
            await client.password.forgot(email.trim());
            setSentTo(email.trim());
          }}
        >
          <EmailField name="email" label={t("field.email")} required defaultValue={typed} />
        </Form>
      </div>
      <p className="below">
        <Link href={withReturnTo("/login")}>{t("forgot.back")}</Link>
      </p>
    </Page>
  );
}
