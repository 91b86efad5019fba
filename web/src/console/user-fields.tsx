import { ROLES, type Role, type Schemas } from "@josoor/auth";
import { useI18n } from "../i18n";

export type AdminUser = Schemas["AdminUserResponse"];

export function RoleSelect({ name, value }: { name: string; value: Role }) {
  const { t } = useI18n();
  return (
    <div className="field">
      <label htmlFor={`select-${name}`}>{t("field.role")}</label>
      <select key={value} id={`select-${name}`} name={name} defaultValue={value}>
        {ROLES.map((role) => (
          <option key={role} value={role}>
            {t(`role.${role}`)}
          </option>
        ))}
      </select>
    </div>
  );
}

export function StatusOf({ user }: { user: AdminUser }) {
  const { t } = useI18n();
  const status = user.deleted_at
    ? "users.deleted"
    : user.frozen_at
      ? "users.frozen"
      : user.is_active
        ? "users.active"
        : "users.inactive";
  return (
    <>
      <span className={user.is_active ? "badge good" : user.frozen_at ? "badge warn" : "badge bad"}>{t(status)}</span>{" "}
      {!user.email_verified && <span className="badge warn">{t("users.unverified")}</span>}
    </>
  );
}
