import type { User } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { useRef } from "react";
import { Link } from "wouter";
import { Time } from "../components/values";
import { type TextKey, useI18n } from "../i18n";
import { type AdminUser, StatusOf } from "./user-fields";

const COLUMNS: [sort: string, title: TextKey][] = [
  ["email", "field.email"],
  ["full_name", "field.full_name"],
  ["role", "field.role"],
  ["created_at", "users.created"],
  ["updated_at", "users.updated"],
];

/** A page of users, to sort and to choose from; Shift chooses a range. */
export function UsersTable({
  users,
  sort,
  onSort,
  chosen,
  onChoose,
}: {
  users: AdminUser[];
  /** A column, with "-" in front for descending. */
  sort: string;
  onSort: (sort: string) => void;
  chosen: Map<number, User>;
  onChoose: (chosen: Map<number, User>) => void;
}) {
  const { t } = useI18n();
  const { user: me } = useAuth();
  const last = useRef<number | null>(null);
  const choose = (index: number, isOn: boolean, withShift: boolean) => {
    const from = withShift && last.current !== null ? Math.min(last.current, index) : index;
    const to = withShift && last.current !== null ? Math.max(last.current, index) : index;
    last.current = index;
    const next = new Map(chosen);
    for (const user of users.slice(from, to + 1)) isOn ? next.set(user.id, user) : next.delete(user.id);
    onChoose(next);
  };

  return (
    <div className="scroll" tabIndex={0} role="region" aria-label={t("console.users")}>
      <table>
        <thead>
          <tr>
            <th scope="col" className="narrow">
              <input
                type="checkbox"
                aria-label={t("users.choose_page")}
                checked={users.every(({ id }) => chosen.has(id))}
                onChange={(event) => {
                  const next = new Map(chosen);
                  for (const user of users) event.target.checked ? next.set(user.id, user) : next.delete(user.id);
                  onChoose(next);
                }}
              />
            </th>
            {COLUMNS.map(([key, title]) => {
              const direction = sort === key ? "ascending" : sort === `-${key}` ? "descending" : undefined;
              return (
                <th scope="col" key={key} aria-sort={direction}>
                  <button
                    type="button"
                    className="link"
                    onClick={() => onSort(direction === "ascending" ? `-${key}` : key)}
                  >
                    {t(title)}{" "}
                    <span aria-hidden="true">
                      {direction === "ascending" ? "▲" : direction === "descending" ? "▼" : ""}
                    </span>
                  </button>
                </th>
              );
            })}
            <th scope="col">{t("users.status")}</th>
          </tr>
        </thead>
        <tbody>
          {users.map((user, index) => (
            <tr key={user.id}>
              <td className="narrow">
                <input
                  type="checkbox"
                  aria-label={t("users.choose", { email: user.email })}
                  checked={chosen.has(user.id)}
                  onChange={(event) => choose(index, event.target.checked, (event.nativeEvent as MouseEvent).shiftKey)}
                />
              </td>
              <th scope="row">
                <Link href={`/console/users/${user.id}`}>
                  <bdi dir="ltr">{user.email}</bdi>
                </Link>{" "}
                {user.id === me?.id && <span className="badge">{t("users.you")}</span>}
              </th>
              <td>
                <bdi>{user.full_name}</bdi>
              </td>
              <td>{t(`role.${user.role}`)}</td>
              <td>
                <Time at={user.created_at} />
              </td>
              <td>
                <Time at={user.updated_at} />
              </td>
              <td>
                <StatusOf user={user} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
