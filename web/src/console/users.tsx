import { ROLES, type Schemas, type User } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { keepPreviousData, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useEffect, useRef, useState } from "react";
import { Link } from "wouter";
import { messageOf } from "../components/form";
import { MailHint, Notice } from "../components/notice";
import { Page } from "../components/page";
import { Pager } from "../components/pager";
import { Result } from "../components/queries";
import { config } from "../config";
import { latinDigits, useI18n } from "../i18n";
import { useAddress } from "./address";
import { type BulkChange, BulkDialog } from "./bulk";
import { ExportButton } from "./export-button";
import { SelectFilter } from "./filters";
import { InviteDialog } from "./invite-dialog";
import { ConsoleNav } from "./nav";
import { UsersTable } from "./users-table";

type UserList = Schemas["UserList"];

const SIZES = ["20", "50", "100"];
/** How many users "all that match" takes in at most: each is a request of its own. */
const BULK_AT_MOST = 1000;

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

  // "/" goes to the search, as in other tables of this kind; never while something is being typed.
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      if (
        event.key !== "/" ||
        event.ctrlKey ||
        event.metaKey ||
        event.altKey ||
        /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)
      )
        return;
      event.preventDefault();
      search.current?.focus();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);

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
    <Page title="console.users" wide nav={<ConsoleNav />}>
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
        <button type="submit" className="button">
          {t("users.find")}
        </button>
        {hasFilter && (
          <button
            type="button"
            className="button quiet"
            onClick={() => narrow({ q: null, role: null, is_active: null, deleted: null })}
          >
            {t("users.clear")}
          </button>
        )}
      </form>
      <div className="actions">
        <button type="button" className="button" onClick={() => setInviting(true)}>
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
      </div>
      <Result of={users}>
        {({ items, total }) => (
          <>
            <p role="status">{n("users.count", total)}</p>
            {chosen.size > 0 && !isOfDeleted && (
              <div className="actions bulk" role="group" aria-label={t("bulk.title")}>
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
              <p className="card">{t(hasFilter ? "users.no_match" : "users.none")}</p>
            ) : (
              <UsersTable
                users={items}
                sort={sort}
                onSort={(sort) => change({ sort, page: null }, { replace: true })}
                chosen={chosen}
                onChoose={setChosen}
              />
            )}
            <div className="actions">
              <Pager
                page={page}
                pages={Math.ceil(total / Number(size))}
                onPage={(next) => change({ page: next === 1 ? null : String(next) })}
              />
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
    </Page>
  );
}
