import type { User } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { Cancel, Dialog } from "../components/dialog";
import { EmailField, TextField } from "../components/fields";
import { Form } from "../components/form";
import { LanguageSelect } from "../components/language-select";
import { suggestedEmail } from "../components/suggestion";
import { useI18n } from "../i18n";
import { RoleSelect } from "./user-fields";

/** Invites one user: the link in the mail lets them set a password. */
export function InviteDialog({
  onClose,
  onInvited,
}: {
  onClose: () => void;
  onInvited: (user: User) => Promise<void>;
}) {
  const { t, language } = useI18n();
  const { client } = useAuth();
  return (
    <Dialog title={t("users.invite")} onClose={onClose}>
      <p>{t("users.invite_lead")}</p>
      <Form
        submit={t("users.invite_submit")}
        onSubmit={async ({ email = "", full_name = "", role, locale }) => {
          const name = full_name.trim();
          const body = { email: email.trim(), role, locale, ...(name ? { full_name: name } : {}) };
          await onInvited(await client.request<User>("POST", "/admin/users", { body }));
        }}
        footer={<Cancel onClick={onClose} />}
      >
        <EmailField name="email" label={t("field.email")} autoComplete="off" required suggest={suggestedEmail} />
        <TextField name="full_name" label={t("field.full_name")} isOptional autoComplete="off" />
        <RoleSelect name="role" value="user" />
        <LanguageSelect value={language} />
      </Form>
    </Dialog>
  );
}
