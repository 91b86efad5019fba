import type { User } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { ArrowDown, ArrowUp } from "lucide-react";
import { useRef } from "react";
import { Link } from "wouter";
import { Avatar } from "../components/avatar";
import { Time } from "../components/values";
import { type TextKey, useI18n } from "../i18n";
import type { BulkChange } from "./bulk-change";
import { RowMenu } from "./row-menu";
import { type AdminUser, StatusOf } from "./user-fields";

/** Those that can be sorted by. */
export const COLUMNS: [sort: string, title: TextKey, width: string][] = [
  ["email", "field.email", "w-xl"],
  ["full_name", "field.full_name", "w-m"],
  ["role", "field.role", "w-s"],
  ["created_at", "users.created", "w-sm"],
];

/** A page of users, to sort and to choose from; Shift chooses a range. */
export function UsersTable({
  users,
  sort,
  onSort,
  chosen,
  onChoose,
  onChange,
}: {
  users: AdminUser[];
  /** A column, with "-" in front for descending. */
  sort: string;
  onSort: (sort: string) => void;
  chosen: Map<number, User>;
  onChoose: (chosen: Map<number, User>) => void;
  /** A change of one user was chosen. */
  onChange: (change: BulkChange, user: User) => void;
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
  const choosePage = (isOn: boolean) => {
    const next = new Map(chosen);
    for (const user of users) isOn ? next.set(user.id, user) : next.delete(user.id);
    onChoose(next);
  };

  const areAllChosen = users.every(({ id }) => chosen.has(id));
  return (
    <>
      <label className="inline sorting">
        <input type="checkbox" checked={areAllChosen} onChange={(event) => choosePage(event.target.checked)} />
        {t("users.choose_shown")}
      </label>
      <div className="scroll" tabIndex={0} role="region" aria-label={t("console.users")}>
        <table className="lined">
          <colgroup>
            <col className="w-check" />
            {COLUMNS.map(([key, , width]) => (
              <col key={key} className={width} />
            ))}
            <col className="w-sm" />
            <col className="w-ml" />
            <col className="w-check" />
          </colgroup>
          <thead>
            <tr>
              <th scope="col">
                <input
                  type="checkbox"
                  aria-label={t("users.choose_page")}
                  checked={areAllChosen}
                  onChange={(event) => choosePage(event.target.checked)}
                />
              </th>
              {COLUMNS.map(([key, title]) => {
                const direction = sort === key ? "ascending" : sort === `-${key}` ? "descending" : undefined;
                return (
                  <th scope="col" key={key} aria-sort={direction}>
                    <button
                      type="button"
                      className="sort"
                      onClick={() => onSort(direction === "ascending" ? `-${key}` : key)}
                    >
                      {t(title)}
                      {direction === "ascending" && <ArrowUp className="icon" />}
                      {direction === "descending" && <ArrowDown className="icon" />}
                    </button>
                  </th>
                );
              })}
              <th scope="col">{t("users.last_login")}</th>
              <th scope="col">{t("users.status")}</th>
              <th scope="col">
                <span className="visually-hidden">{t("row.column")}</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {users.map((user, index) => (
              <tr key={user.id}>
                <td>
                  <input
                    type="checkbox"
                    aria-label={t("users.choose", { email: user.email })}
                    checked={chosen.has(user.id)}
                    onChange={(event) =>
                      choose(index, event.target.checked, (event.nativeEvent as MouseEvent).shiftKey)
                    }
                  />
                </td>
                <th scope="row" className="whole">
                  <div className="cell">
                    <Avatar user={user} />
                    <Link className="cut" href={`/console/users/${user.id}`} title={user.email} dir="ltr">
                      {user.email}
                    </Link>
                    {user.id === me?.id && <span className="badge">{t("users.you")}</span>}
                  </div>
                </th>
                <td title={user.full_name ?? undefined}>
                  {user.full_name && <bdi className="cut">{user.full_name}</bdi>}
                </td>
                <td>{t(`role.${user.role}`)}</td>
                <td data-label={t("users.created")}>
                  <Time at={user.created_at} />
                </td>
                <td data-label={t("users.last_login")}>
                  {user.last_login_at ? <Time at={user.last_login_at} /> : t("users.never")}
                </td>
                <td>
                  <StatusOf user={user} />
                </td>
                <td>
                  <RowMenu user={user} onChange={(change) => onChange(change, user)} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}
