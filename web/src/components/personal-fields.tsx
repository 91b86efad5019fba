import type { User } from "@josoor/auth";
import { useI18n } from "../i18n";
import { TextField } from "./fields";

/** The fields of what a user is described by, for the user's own form and for administrators'. Without a user they are optional. */
export function PersonalFields({ user, isOwn = false }: { user?: User; isOwn?: boolean }) {
  const { t } = useI18n();
  return (
    <TextField
      key={user?.full_name}
      name="full_name"
      label={t("field.full_name")}
      isOptional={!user}
      autoComplete={isOwn ? "name" : "off"}
      defaultValue={user?.full_name ?? ""}
    />
  );
}

/** What a user is described by, as a request has it. */
export type Personal = Pick<User, "full_name">;

/** What was typed into the fields: an empty one is null. */
export const personalTyped = ({ full_name = "" }: Record<string, string>): Personal => ({
  full_name: full_name.trim() || null,
});

/** What a user is described by now. */
export const personalOf = ({ full_name }: User): Personal => ({ full_name });
