import { AuthError, type User } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { useState } from "react";
import { useLocation } from "wouter";
import { Cancel, Dialog } from "../components/dialog";
import { TextField } from "../components/fields";
import { Form } from "../components/form";
import { useToast } from "../components/toast";
import { config } from "../config";
import { useI18n } from "../i18n";

/** What was typed to confirm is not what was asked for. */
const mismatch = (field: string) =>
  new AuthError({ kind: "validation", code: "validation_failed", errors: [{ field, code: "mismatch", message: "" }] });

/** Deactivating and deleting a user, each after a question. */
export function DangerZone({ user, onChanged }: { user: User; onChanged: () => Promise<void> }) {
  const { t, duration } = useI18n();
  const { client, user: me } = useAuth();
  const say = useToast();
  const [, navigate] = useLocation();
  const [asked, setAsked] = useState<"activation" | "deletion" | null>(null);
  const close = () => setAsked(null);
  const setActive = async (is_active: boolean) => {
    await client.request("PATCH", `/admin/users/${user.id}`, { body: { is_active } });
  };
  return (
    <section className="card danger-zone" aria-labelledby="danger">
      <h2 id="danger">{t("user.danger")}</h2>
      <div className="deed">
        <p>{t(user.is_active ? "user.deactivate_lead" : "user.activate_lead")}</p>
        <button
          type="button"
          className={user.is_active ? "button risky" : "button"}
          onClick={() => setAsked("activation")}
        >
          {t(user.is_active ? "user.deactivate" : "user.activate")}
        </button>
      </div>
      <div className="deed">
        <p>{t("user.delete_lead")}</p>
        <button type="button" className="button risky" onClick={() => setAsked("deletion")}>
          {t("user.delete")}
        </button>
      </div>
      {asked === "activation" && (
        <Dialog title={t(user.is_active ? "user.deactivate" : "user.activate")} onClose={close}>
          <p>{t(user.is_active ? "user.deactivate_lead" : "user.activate_lead")}</p>
          <p>
            <bdi dir="ltr">{user.email}</bdi>
          </p>
          <Form
            danger={user.is_active}
            submit={t(user.is_active ? "user.deactivate" : "user.activate")}
            onSubmit={async () => {
              const before = user.is_active;
              await setActive(!before);
              close();
              const undo = async () => {
                await setActive(before);
                await onChanged();
                return t(before ? "user.activated" : "user.deactivated");
              };
              say(t(before ? "user.deactivated" : "user.activated"), user.id === me?.id ? undefined : undo);
              await onChanged();
            }}
            footer={<Cancel onClick={close} />}
          />
        </Dialog>
      )}
      {asked === "deletion" && (
        <Dialog title={t("user.delete")} onClose={close}>
          <ul>
            <li>{t("delete.loses_account")}</li>
            <li>{t("delete.loses_sessions")}</li>
            <li>{t("delete.keeps_audit")}</li>
            <li>
              {config.deletionGrace > 0
                ? t("user.delete_undo", { duration: duration(config.deletionGrace) })
                : t("delete.no_return")}
            </li>
          </ul>
          <Form
            danger
            submit={t("user.delete")}
            onSubmit={async ({ confirm_email = "" }) => {
              if (confirm_email.trim() !== user.email) throw mismatch("confirm_email");
              await client.request("DELETE", `/admin/users/${user.id}`);
              close();
              const undo = async () => {
                await client.request("POST", `/admin/users/${user.id}/restore`);
                await onChanged();
                return t("user.restored");
              };
              say(t("toast.user_deleted"), config.deletionGrace > 0 ? undo : undefined);
              navigate("/console/users", { replace: true });
              await onChanged();
            }}
            footer={<Cancel onClick={close} />}
          >
            <TextField
              name="confirm_email"
              label={t("user.type_email", { email: user.email })}
              dir="ltr"
              autoComplete="off"
              required
            />
          </Form>
        </Dialog>
      )}
    </section>
  );
}
