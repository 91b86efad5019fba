import type { User } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { Cancel, Dialog } from "../components/dialog";
import { EmailField } from "../components/fields";
import { Form } from "../components/form";
import { LanguageSelect } from "../components/language-select";
import { PersonalFields, personalTyped } from "../components/personal-fields";
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
        onSubmit={async ({ email = "", role, locale, ...values }) => {
          const body = { email: email.trim(), role, locale, ...personalTyped(values) };
          await onInvited(await client.request<User>("POST", "/admin/users", { body }));
        }}
        footer={<Cancel onClick={onClose} />}
      >
        <EmailField name="email" label={t("field.email")} autoComplete="off" required suggest={suggestedEmail} />
        <PersonalFields />
        <RoleSelect name="role" value="user" />
        <LanguageSelect value={language} />
      </Form>
    </Dialog>
  );
}
