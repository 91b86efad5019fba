import { useAuth, useUser } from "@josoor/auth/react";
import { useState } from "react";
import { Link } from "wouter";
import { Avatar } from "../components/avatar";
import { Form } from "../components/form";
import { LanguageSelect } from "../components/language-select";
import { MailHint, Notice } from "../components/notice";
import { PersonalFields, personalOf, personalTyped } from "../components/personal-fields";
import { useToast } from "../components/toast";
import { Code } from "../components/values";
import { config } from "../config";
import { useI18n } from "../i18n";
import { MyData } from "./my-data";

export function Profile() {
  const { t, date } = useI18n();
  const { client } = useAuth();
  const user = useUser();
  const say = useToast();
  const [isSent, setSent] = useState(false);
  if (!user) return null;
  return (
    <>
      {!user.email_verified && (
        <Notice kind={isSent ? "done" : "note"} title={t("profile.unverified_title")}>
          <p>{t(isSent ? "profile.verification_sent" : "profile.unverified", { email: user.email })}</p>
          {!isSent && (
            <Form
              submit={t("profile.send_verification")}
              onSubmit={async () => {
                await client.email.resend();
                setSent(true);
              }}
            />
          )}
          <MailHint isOn={config.devMail} />
        </Notice>
      )}
      <div className="card">
        <div className="person">
          <Avatar user={user} isLarge />
          <div>
            <h2>
              <bdi>{user.full_name ?? user.email}</bdi>
            </h2>
            {user.full_name && (
              <p className="small">
                <bdi dir="ltr">{user.email}</bdi>
              </p>
            )}
          </div>
        </div>
        <Form
          submit={t("profile.submit")}
          onSubmit={async (values) => {
            const before = { ...personalOf(user), locale: user.locale };
            await client.updateMe({ ...personalTyped(values), locale: values.locale === "ar" ? "ar" : "en" });
            say(t("profile.saved"), () => client.updateMe(before));
          }}
        >
          <PersonalFields user={user} isOwn />
          <LanguageSelect value={user.locale} hint={t("profile.language_hint")} />
        </Form>
      </div>
      <dl className="facts card">
        <dt>{t("field.email")}</dt>
        <dd>
          <bdi dir="ltr">{user.email}</bdi> <Link href="/account/email">{t("profile.change_email")}</Link>
        </dd>
        <dt>{t("field.role")}</dt>
        <dd>{t(`role.${user.role}`)}</dd>
        <dt>{t("profile.since")}</dt>
        <dd>{date(user.created_at)}</dd>
        <dt>{t("field.id")}</dt>
        <dd>
          <Code>{user.id}</Code>
        </dd>
      </dl>
      <MyData />
    </>
  );
}
