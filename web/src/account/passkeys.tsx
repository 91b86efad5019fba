import type { Passkey } from "@josoor/auth";
import { useAuth, useUser } from "@josoor/auth/react";
import { KeyRound } from "lucide-react";
import { useState } from "react";
import { Cancel, Dialog } from "../components/dialog";
import { PasswordField, TextField } from "../components/fields";
import { Form, messageOf } from "../components/form";
import { Notice } from "../components/notice";
import { useToast } from "../components/toast";
import { Time } from "../components/values";
import { useI18n } from "../i18n";

/** The passkeys of the account: to add, to rename and to remove. */
export function Passkeys({
  passkeys,
  onCodes,
  onChange,
}: {
  passkeys: Passkey[];
  onCodes: (codes: string[]) => void;
  onChange: () => Promise<void>;
}) {
  const { t } = useI18n();
  const { client } = useAuth();
  const [isAdding, setAdding] = useState(false);
  return (
    <section className="card" aria-labelledby="passkeys">
      <h2 id="passkeys">{t("passkeys.title")}</h2>
      <p>{t("passkeys.lead")}</p>
      {passkeys.length > 0 && (
        <ul className="cards">
          {passkeys.map((passkey) => (
            <Entry key={passkey.id} passkey={passkey} onChange={onChange} />
          ))}
        </ul>
      )}
      {!client.passkeys.isSupported() ? (
        <p className="small">{t("passkeys.unsupported")}</p>
      ) : isAdding ? (
        <Add
          onCancel={() => setAdding(false)}
          onAdded={async (codes) => {
            setAdding(false);
            if (codes) onCodes(codes);
            await onChange();
          }}
        />
      ) : (
        <div className="actions">
          <button type="button" className="button" onClick={() => setAdding(true)}>
            {t("passkeys.add")}
          </button>
        </div>
      )}
    </section>
  );
}

function Add({ onCancel, onAdded }: { onCancel: () => void; onAdded: (codes: string[] | null) => Promise<void> }) {
  const { t } = useI18n();
  const { client } = useAuth();
  const user = useUser();
  return (
    <Form
      passwordField="password"
      submit={t("passkeys.continue")}
      onSubmit={async ({ password = "" }) => onAdded((await client.passkeys.register({ password })).recoveryCodes)}
      footer={
        <button type="button" className="button quiet" onClick={onCancel}>
          {t("dialog.cancel")}
        </button>
      }
    >
      <PasswordField name="password" label={t("field.current_password")} email={user?.email} required />
    </Form>
  );
}

function Entry({ passkey, onChange }: { passkey: Passkey; onChange: () => Promise<void> }) {
  const i18n = useI18n();
  const { t, date } = i18n;
  const { client } = useAuth();
  const say = useToast();
  const [asked, setAsked] = useState<"rename" | "remove" | null>(null);
  const [failure, setFailure] = useState<unknown>(null);
  const close = () => {
    setAsked(null);
    setFailure(null);
  };
  const remove = async () => {
    try {
      await client.passkeys.remove(passkey.id);
      close();
      await onChange();
    } catch (error) {
      setFailure(error);
    }
  };
  return (
    <li className="card row">
      <KeyRound className="icon" />
      <div>
        <h3>
          <bdi>{passkey.name}</bdi> {passkey.is_backed_up && <span className="badge">{t("passkeys.backed_up")}</span>}
          {!passkey.is_usable && <span className="badge">{t("passkeys.elsewhere")}</span>}
        </h3>
        <p className="small">
          {t("passkeys.since", { date: date(passkey.created_at) })}
          {passkey.last_used_at && (
            <>
              {" · "}
              {t("factors.last_used")} <Time at={passkey.last_used_at} />
            </>
          )}
        </p>
      </div>
      <div className="actions">
        <button type="button" className="button quiet" onClick={() => setAsked("rename")}>
          {t("passkeys.rename")}
          <span className="visually-hidden">: {passkey.name}</span>
        </button>
        <button type="button" className="button quiet" onClick={() => setAsked("remove")}>
          {t("passkeys.remove")}
          <span className="visually-hidden">: {passkey.name}</span>
        </button>
      </div>
      {asked === "rename" && (
        <Dialog title={t("passkeys.rename")} onClose={close}>
          <Form
            submit={t("passkeys.save")}
            onSubmit={async ({ name = "" }) => {
              const before = passkey.name;
              await client.passkeys.rename(passkey.id, name);
              close();
              say(t("profile.saved"), async () => {
                await client.passkeys.rename(passkey.id, before);
                await onChange();
              });
              await onChange();
            }}
            footer={<Cancel onClick={close} />}
          >
            <TextField
              name="name"
              label={t("passkeys.name")}
              defaultValue={passkey.name}
              autoComplete="off"
              maxLength={64}
              required
            />
          </Form>
        </Dialog>
      )}
      {asked === "remove" && (
        <Dialog title={t("passkeys.remove_title")} onClose={close}>
          {failure !== null && <Notice kind="bad">{messageOf(failure, i18n)}</Notice>}
          <p>{t("passkeys.remove_lead", { name: passkey.name })}</p>
          <div className="actions">
            <button type="button" className="button danger" onClick={() => void remove()}>
              {t("passkeys.remove_now")}
            </button>
            <Cancel onClick={close} />
          </div>
        </Dialog>
      )}
    </li>
  );
}
