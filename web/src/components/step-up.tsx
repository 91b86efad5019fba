import { useAuth } from "@josoor/auth/react";
import { useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { onAsked } from "../asking";
import { useI18n } from "../i18n";
import { Cancel, Dialog } from "./dialog";
import { PasswordField, TextField } from "./fields";
import { Form, messageOf } from "./form";
import { Notice } from "./notice";

/** Asks the user to verify once more, when a request needs it, and lets it go on then. */
export function StepUp() {
  const i18n = useI18n();
  const { t } = i18n;
  const { client, user } = useAuth();
  const [answer, setAnswer] = useState<((isVerified: boolean) => void) | null>(null);
  useEffect(() => onAsked((given) => setAnswer(() => given)), []);
  const [failure, setFailure] = useState<unknown>(null);
  const passkeys = useQuery({
    queryKey: ["passkeys"],
    queryFn: () => client.passkeys.list(),
    enabled: answer !== null && user?.mfa_enabled === true && client.passkeys.isSupported(),
  });
  if (!answer || !user) return null;
  const end = (isVerified: boolean) => {
    setAnswer(null);
    setFailure(null);
    answer(isVerified);
  };
  return (
    <Dialog title={t("step_up.title")} onClose={() => end(false)}>
      {failure !== null && <Notice kind="bad">{messageOf(failure, i18n)}</Notice>}
      {passkeys.data?.some((passkey) => passkey.is_usable) && (
        <div className="actions">
          <button
            type="button"
            className="button"
            onClick={() => {
              setFailure(null);
              client
                .stepUp({ passkey: true })
                .then(() => end(true))
                .catch(setFailure);
            }}
          >
            {t("step_up.passkey")}
          </button>
        </div>
      )}
      <p>{t(user.mfa_enabled ? "step_up.by_code" : "step_up.by_password")}</p>
      <Form
        passwordField="password"
        submit={t("step_up.submit")}
        onSubmit={async ({ code = "", password = "" }) => {
          await client.stepUp(user.mfa_enabled ? { code } : { password });
          end(true);
        }}
        footer={<Cancel onClick={() => end(false)} />}
      >
        {user.mfa_enabled ? (
          <TextField name="code" label={t("field.code")} autoComplete="one-time-code" dir="ltr" required />
        ) : (
          <PasswordField name="password" label={t("field.current_password")} email={user.email} required />
        )}
      </Form>
    </Dialog>
  );
}
