import { AuthError, type User } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { useState } from "react";
import { useLocation } from "wouter";
import { Cancel, Dialog } from "../components/dialog";
import { TextField } from "../components/fields";
import { Form } from "../components/form";
import { config } from "../config";
import { useI18n } from "../i18n";

/** What was typed to confirm is not what was asked for. */
const mismatch = (field: string) =>
  new AuthError({ kind: "validation", code: "validation_failed", errors: [{ field, code: "mismatch", message: "" }] });

/** Deactivating and deleting a user, each after a question. */
export function DangerZone({
  user,
  onChanged,
  onDone,
}: {
  user: User;
  onChanged: () => Promise<void>;
  onDone: (text: string) => void;
}) {
  const { t, duration } = useI18n();
  const { client } = useAuth();
  const [, navigate] = useLocation();
  const [asked, setAsked] = useState<"activation" | "deletion" | null>(null);
  const close = () => setAsked(null);
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
              await client.request("PATCH", `/admin/users/${user.id}`, { body: { is_active: !user.is_active } });
              close();
              onDone(t(user.is_active ? "user.deactivated" : "user.activated"));
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
