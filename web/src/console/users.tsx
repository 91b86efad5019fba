import { ROLES, type Schemas, type User } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { keepPreviousData, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useEffect, useRef, useState } from "react";
import { Link } from "wouter";
import { Cancel, Dialog } from "../components/dialog";
import { EmailField, TextField } from "../components/fields";
import { Form, messageOf } from "../components/form";
import { LanguageSelect } from "../components/language-select";
import { MailHint, Notice } from "../components/notice";
import { Page } from "../components/page";
import { Pager } from "../components/pager";
import { Result } from "../components/queries";
import { suggestedEmail } from "../components/suggestion";
import { Time } from "../components/values";
import { config } from "../config";
import { latinDigits, type TextKey, useI18n } from "../i18n";
import { useAddress } from "./address";
import { type BulkChange, BulkDialog } from "./bulk";
import { ExportButton } from "./export-button";
import { SelectFilter } from "./filters";
import { ConsoleNav } from "./nav";
import { RoleSelect, StatusOf } from "./user-fields";

type UserList = Schemas["UserList"];

const COLUMNS: [sort: string, title: TextKey][] = [
  ["email", "field.email"],
  ["full_name", "field.full_name"],
  ["role", "field.role"],
  ["created_at", "users.created"],
  ["updated_at", "users.updated"],
];
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
  const { client, user: me } = useAuth();
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
  const last = useRef<number | null>(null);

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

  const choose = (items: User[], index: number, isOn: boolean, withShift: boolean) => {
    const from = withShift && last.current !== null ? Math.min(last.current, index) : index;
    const to = withShift && last.current !== null ? Math.max(last.current, index) : index;
    last.current = index;
    const next = new Map(chosen);
    for (const user of items.slice(from, to + 1)) isOn ? next.set(user.id, user) : next.delete(user.id);
    setChosen(next);
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
              <div className="scroll" tabIndex={0} role="region" aria-label={t("console.users")}>
                <table>
                  <thead>
                    <tr>
                      <th scope="col" className="narrow">
                        <input
                          type="checkbox"
                          aria-label={t("users.choose_page")}
                          checked={items.every(({ id }) => chosen.has(id))}
                          onChange={(event) => {
                            const next = new Map(chosen);
                            for (const user of items)
                              event.target.checked ? next.set(user.id, user) : next.delete(user.id);
                            setChosen(next);
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
                              onClick={() =>
                                change(
                                  { sort: direction === "ascending" ? `-${key}` : key, page: null },
                                  { replace: true },
                                )
                              }
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
                    {items.map((user, index) => (
                      <tr key={user.id}>
                        <td className="narrow">
                          <input
                            type="checkbox"
                            aria-label={t("users.choose", { email: user.email })}
                            checked={chosen.has(user.id)}
                            onChange={(event) =>
                              choose(items, index, event.target.checked, (event.nativeEvent as MouseEvent).shiftKey)
                            }
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
        <Dialog title={t("users.invite")} onClose={() => setInviting(false)}>
          <p>{t("users.invite_lead")}</p>
          <Form
            submit={t("users.invite_submit")}
            onSubmit={async ({ email = "", full_name = "", role, locale }) => {
              const name = full_name.trim();
              const body = { email: email.trim(), role, locale, ...(name ? { full_name: name } : {}) };
              setInvited(await client.request<User>("POST", "/admin/users", { body }));
              setInviting(false);
              await queries.invalidateQueries({ queryKey: ["users"] });
            }}
            footer={<Cancel onClick={() => setInviting(false)} />}
          >
            <EmailField name="email" label={t("field.email")} autoComplete="off" required suggest={suggestedEmail} />
            <TextField name="full_name" label={t("field.full_name")} hint={t("field.optional")} autoComplete="off" />
            <RoleSelect name="role" value="user" />
            <LanguageSelect value={i18n.language} />
          </Form>
        </Dialog>
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
