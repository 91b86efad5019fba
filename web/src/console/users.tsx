import { ROLES, type Schemas, type User } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { keepPreviousData, useQuery, useQueryClient } from "@tanstack/react-query";
import { Search, SearchX, UserPlus, UsersRound } from "lucide-react";
import { type FormEvent, useRef, useState } from "react";
import { Link } from "wouter";
import { Empty } from "../components/empty";
import { messageOf } from "../components/form";
import { MailHint, Notice } from "../components/notice";
import { Pager } from "../components/pager";
import { Result } from "../components/queries";
import { config } from "../config";
import { latinDigits, type TextKey, useI18n } from "../i18n";
import { useAddress } from "./address";
import { BulkDialog } from "./bulk";
import type { BulkChange } from "./bulk-change";
import { ConsolePage } from "./console-page";
import { ExportButton } from "./export-button";
import { SelectFilter } from "./filters";
import { InviteDialog } from "./invite-dialog";
import { useSearchShortcut } from "./shortcut";
import { COLUMNS, UsersTable } from "./users-table";

type UserList = Schemas["UserList"];

const SIZES = ["20", "50", "100"];
/** How many users the service changes in one request, at most. */
const BULK_AT_MOST = 500;

function storedSize(): string {
  try {
    return SIZES.find((size) => size === localStorage.getItem("josoor_page_size")) ?? "20";
  } catch {
    return "20";
  }
}

export function Users() {
  const i18n = useI18n();
  const { t, n, number } = i18n;
  const { client } = useAuth();
  const queries = useQueryClient();
  const [address, change] = useAddress();
  const filter = {
    q: address.get("q") ?? "",
    role: address.get("role") ?? "",
    is_active: address.get("is_active") ?? "",
    deleted: address.get("deleted") ?? "",
    email_verified: address.get("email_verified") ?? "",
    invited: address.get("invited") ?? "",
    mfa_enabled: address.get("mfa_enabled") ?? "",
  };
  const sort = address.get("sort") ?? "-created_at";
  const size = address.get("size") ?? storedSize();
  const page = Math.max(1, Number(address.get("page")) || 1);
  const search = useRef<HTMLInputElement>(null);
  const [chosen, setChosen] = useState<Map<number, User>>(new Map());
  const [bulk, setBulk] = useState<BulkChange | null>(null);
  const [isInviting, setInviting] = useState(false);
  const [invited, setInvited] = useState<User | null>(null);
  const [failure, setFailure] = useState<unknown>(null);

  const query = { ...filter, sort, page_size: size };
  const users = useQuery({
    queryKey: ["users", query, page],
    queryFn: ({ signal }) => client.request<UserList>("GET", "/admin/users", { query: { ...query, page }, signal }),
    placeholderData: keepPreviousData,
  });

  useSearchShortcut(search);

  const narrow = (values: Record<string, string | null>) => {
    setChosen(new Map());
    change({ ...values, page: null });
  };

  const chooseAll = async () => {
    const all = new Map<number, User>();
    try {
      for (let number = 1; all.size < BULK_AT_MOST; number += 1) {
        const { items, total } = await client.request<UserList>("GET", "/admin/users", {
          query: { ...filter, sort: "id", page_size: 100, page: number },
        });
        for (const user of items) if (all.size < BULK_AT_MOST) all.set(user.id, user);
        if (items.length === 0 || number * 100 >= total) break;
      }
      setChosen(all);
    } catch (error) {
      setFailure(error);
    }
  };

  const hasFilter = Object.values(filter).some((value) => value !== "");
  const isOfDeleted = filter.deleted !== "";
  return (
    <ConsolePage
      title="console.users"
      actions={
        <>
          <button type="button" className="button" onClick={() => setInviting(true)}>
            <UserPlus className="icon" />
            {t("users.invite")}
          </button>
          {!isOfDeleted && (
            <ExportButton
              path="/admin/users/export"
              query={{ sort, ...filter }}
              file="users.csv"
              onFailure={setFailure}
            />
          )}
        </>
      }
    >
      {failure !== null && <Notice kind="bad">{messageOf(failure, i18n)}</Notice>}
      {invited && (
        <Notice kind="done">
          <p>
            {t("users.invited", { email: invited.email })}{" "}
            <Link href={`/console/users/${invited.id}`}>{t("users.show")}</Link>
          </p>
          <MailHint isOn={config.devMail} />
        </Notice>
      )}
      <form
        key={filter.q}
        role="search"
        className="filters"
        onSubmit={(event: FormEvent<HTMLFormElement>) => {
          event.preventDefault();
          narrow({ q: latinDigits(String(new FormData(event.currentTarget).get("q") ?? "").trim()) });
        }}
      >
        <div className="field grow">
          <label htmlFor="q">{t("users.search")}</label>
          <input
            ref={search}
            id="q"
            name="q"
            type="search"
            dir="auto"
            defaultValue={filter.q}
            autoComplete="off"
            maxLength={254}
            aria-keyshortcuts="/"
          />
        </div>
        <button type="submit" className="button quiet">
          <Search className="icon" />
          {t("users.find")}
        </button>
        <SelectFilter
          name="role"
          label={t("field.role")}
          value={filter.role}
          options={ROLES.map((role) => [role, t(`role.${role}`)])}
          onChange={(role) => narrow({ role })}
        />
        <SelectFilter
          name="is_active"
          label={t("users.status")}
          value={isOfDeleted ? "deleted" : filter.is_active}
          options={[
            ["true", t("users.active")],
            ["false", t("users.inactive")],
            ["deleted", t("users.deleted")],
          ]}
          onChange={(value) =>
            narrow(value === "deleted" ? { is_active: null, deleted: "true" } : { is_active: value, deleted: null })
          }
        />
        {hasFilter && (
          <button
            type="button"
            className="button quiet"
            onClick={() => narrow(Object.fromEntries(Object.keys(filter).map((name) => [name, null])))}
          >
            {t("users.clear")}
          </button>
        )}
      </form>
      <SavedFilters current={filter} onChoose={() => setChosen(new Map())} />
      <Result of={users}>
        {({ items, total }) => (
          <>
            <p className="small" role="status">
              {n("users.count", total)}
            </p>
            {chosen.size > 0 && !isOfDeleted && (
              <div className="actions bulk" role="group" aria-label={n("bulk.chosen", chosen.size)}>
                <strong>{n("bulk.chosen", chosen.size)}</strong>
                {chosen.size < total && items.every(({ id }) => chosen.has(id)) && (
                  <button type="button" className="link" onClick={() => void chooseAll()}>
                    {total > BULK_AT_MOST
                      ? t("bulk.choose_first", { count: number(BULK_AT_MOST) })
                      : n("bulk.choose_all", total)}
                  </button>
                )}
                {ROLES.map((role) => (
                  <button type="button" key={role} className="button quiet" onClick={() => setBulk({ role })}>
                    {t("bulk.make", { role: t(`role.${role}`) })}
                  </button>
                ))}
                <button type="button" className="button quiet" onClick={() => setBulk({ is_active: true })}>
                  {t("bulk.activate")}
                </button>
                <button type="button" className="button risky" onClick={() => setBulk({ is_active: false })}>
                  {t("bulk.deactivate")}
                </button>
                <button type="button" className="link" onClick={() => setChosen(new Map())}>
                  {t("bulk.clear")}
                </button>
              </div>
            )}
            {items.length === 0 ? (
              <Empty icon={hasFilter ? SearchX : UsersRound}>{t(hasFilter ? "users.no_match" : "users.none")}</Empty>
            ) : (
              <UsersTable
                users={items}
                sort={sort}
                onSort={(sort) => change({ sort, page: null }, { replace: true })}
                chosen={chosen}
                onChoose={setChosen}
                onChange={(change, user) => {
                  setChosen(new Map([[user.id, user]]));
                  setBulk(change);
                }}
              />
            )}
            <div className="actions">
              <Pager
                page={page}
                pages={Math.ceil(total / Number(size))}
                onPage={(next) => change({ page: next === 1 ? null : String(next) })}
              />
              <div className="inline sorting">
                <label htmlFor="sort">{t("list.sort")}</label>
                <select
                  id="sort"
                  value={sort}
                  onChange={(event) => change({ sort: event.target.value, page: null }, { replace: true })}
                >
                  {COLUMNS.flatMap(([key, title]) => [
                    <option key={key} value={key}>
                      {t(title)} ↑
                    </option>,
                    <option key={`-${key}`} value={`-${key}`}>
                      {t(title)} ↓
                    </option>,
                  ])}
                </select>
              </div>
              <label className="inline">
                {t("list.page_size")}{" "}
                <select
                  value={size}
                  onChange={(event) => {
                    try {
                      localStorage.setItem("josoor_page_size", event.target.value);
                    } catch {
                      // The address remembers it as well.
                    }
                    change({ size: event.target.value, page: null }, { replace: true });
                  }}
                >
                  {SIZES.map((choice) => (
                    <option key={choice} value={choice}>
                      {number(Number(choice))}
                    </option>
                  ))}
                </select>
              </label>
            </div>
          </>
        )}
      </Result>
      {isInviting && (
        <InviteDialog
          onClose={() => setInviting(false)}
          onInvited={(user) => {
            setInvited(user);
            setInviting(false);
            return queries.invalidateQueries({ queryKey: ["users"] });
          }}
        />
      )}
      {bulk && (
        <BulkDialog
          change={bulk}
          users={[...chosen.values()]}
          onClose={() => {
            setBulk(null);
            setChosen(new Map());
            void queries.invalidateQueries({ queryKey: ["users"] });
          }}
        />
      )}
    </ConsolePage>
  );
}

/** Searches that are often needed, each a link. */
const SAVED: [title: TextKey, filter: Record<string, string>][] = [
  ["users.all", {}],
  ["overview.admins", { role: "admin" }],
  ["overview.inactive", { is_active: "false" }],
  ["overview.unverified", { email_verified: "false" }],
  ["overview.invited", { invited: "true" }],
  ["users.no_factor", { mfa_enabled: "false" }],
  ["users.deleted", { deleted: "true" }],
];

function SavedFilters({ current, onChoose }: { current: Record<string, string>; onChoose: () => void }) {
  const { t } = useI18n();
  const addressOf = (filter: Record<string, string>) => {
    const text = new URLSearchParams(filter).toString();
    return text ? `/console/users?${text}` : "/console/users";
  };
  const set = Object.fromEntries(Object.entries(current).filter(([, value]) => value !== ""));
  return (
    <nav aria-label={t("users.saved")}>
      <ul className="chips">
        {SAVED.map(([title, filter]) => (
          <li key={title}>
            <Link
              href={addressOf(filter)}
              aria-current={addressOf(filter) === addressOf(set) ? "true" : undefined}
              onClick={onChoose}
            >
              {t(title)}
            </Link>
          </li>
        ))}
      </ul>
    </nav>
  );
}
