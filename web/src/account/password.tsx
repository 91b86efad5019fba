import { useAuth, useUser } from "@josoor/auth/react";
import { useState } from "react";
import { PasswordField } from "../components/fields";
import { Form } from "../components/form";
import { Notice } from "../components/notice";
import { useI18n } from "../i18n";

export function ChangePassword() {
  const { t } = useI18n();
  const { client } = useAuth();
  const user = useUser();
  const [changes, setChanges] = useState(0);
  return (
    <>
      {changes > 0 && <Notice kind="done">{t("password_page.done")}</Notice>}
      <div className="card">
        <p>{t("password_page.lead")}</p>
        {/* A new form after each change: no password stays in it. */}
        <Form
          key={changes}
          passwordField="current_password"
          submit={t("password_page.submit")}
          onSubmit={async ({ current_password = "", new_password = "" }) => {
            await client.password.change({ current_password, new_password });
            setChanges(changes + 1);
          }}
        >
          <PasswordField name="current_password" label={t("field.current_password")} email={user?.email} required />
          <PasswordField name="new_password" label={t("field.new_password")} isNew required />
        </Form>
      </div>
    </>
  );
}
