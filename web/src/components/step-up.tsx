import { useAuth } from "@josoor/auth/react";
import { useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { onAsked } from "../asking";
import { config } from "../config";
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
  // Where the account has no password, a code comes by mail.
  const [isByMail, setByMail] = useState(false);
  const [answer, setAnswer] = useState<((isVerified: boolean) => void) | null>(null);
  useEffect(() => onAsked((given) => setAnswer(() => given)), []);
  const [failure, setFailure] = useState<unknown>(null);
  const passkeys = useQuery({
    queryKey: ["passkeys"],
    queryFn: () => client.passkeys.list(),
    enabled: answer !== null && user?.mfa_enabled === true && client.passkeys.isSupported(),
  });
  if (!answer || !user) return null;
  const takesCode = isByMail || user.mfa_enabled;
  const end = (isVerified: boolean) => {
    setAnswer(null);
    setFailure(null);
    setByMail(false);
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
      <p>{t(isByMail ? "step_up.by_mail" : user.mfa_enabled ? "step_up.by_code" : "step_up.by_password")}</p>
      <Form
        passwordField="password"
        submit={t("step_up.submit")}
        onSubmit={async ({ code = "", password = "" }) => {
          await client.stepUp(takesCode ? { code } : { password });
          end(true);
        }}
        footer={<Cancel onClick={() => end(false)} />}
      >
        {takesCode ? (
          <TextField
            name="code"
            className="digits"
            label={t("field.code")}
            autoComplete="one-time-code"
            dir="ltr"
            required
          />
        ) : (
          <PasswordField name="password" label={t("field.current_password")} email={user.email} required />
        )}
      </Form>
      {config.mailCode && !takesCode && (
        <Form
          submit={t("step_up.send")}
          onSubmit={async () => {
            await client.mailCode.requestForStepUp();
            setByMail(true);
          }}
        />
      )}
    </Dialog>
  );
}
