import { useAuth, useUser } from "@josoor/auth/react";
import { useEffect, useState } from "react";
import { PasswordField } from "../components/fields";
import { Form } from "../components/form";
import { config } from "../config";
import { useI18n } from "../i18n";
import { MyData } from "./my-data";

/** A password manager that fills and sends in one go must not delete an account: the form is asleep at first. */
const ARMED_AFTER = 500;

export function DeleteAccount() {
  const { t, duration } = useI18n();
  const { client } = useAuth();
  const user = useUser();
  const [isOpen, setOpen] = useState(false);
  const [isArmed, setArmed] = useState(false);
  useEffect(() => {
    if (!isOpen) return;
    const timer = setTimeout(() => setArmed(true), ARMED_AFTER);
    return () => clearTimeout(timer);
  }, [isOpen]);
  if (!user) return null;
  const isFinal = config.deletionGrace === 0;
  return (
    <>
      <MyData />
      <div className="card">
        <p>{t("delete.lead")}</p>
        <ul>
          <li>{t("delete.loses_account")}</li>
          <li>{t("delete.loses_sessions")}</li>
          <li>{t("delete.keeps_audit")}</li>
          <li>{isFinal ? t("delete.no_return") : t("delete.undo", { duration: duration(config.deletionGrace) })}</li>
        </ul>
        <p>
          {t("delete.account")} <bdi dir="ltr">{user.email}</bdi>
        </p>
        {isOpen ? (
          <Form
            danger
            isAsleep={!isArmed}
            passwordField="password"
            submit={t(isFinal ? "delete.submit" : "delete.submit_undo")}
            onSubmit={async ({ password = "" }) => {
              await client.deleteAccount({ password });
            }}
            footer={
              <button type="button" className="button quiet" onClick={() => setOpen(false)}>
                {t("dialog.cancel")}
              </button>
            }
          >
            <PasswordField name="password" label={t("field.current_password")} email={user.email} required />
          </Form>
        ) : (
          <button type="button" className="button risky" onClick={() => setOpen(true)}>
            {t("delete.open")}
          </button>
        )}
      </div>
    </>
  );
}
