import type { Schemas, User } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { ArrowRight } from "lucide-react";
import type { ReactNode } from "react";
import { Dialog } from "../components/dialog";
import { messageOf } from "../components/form";
import { Notice } from "../components/notice";
import { Table } from "../components/table";
import { useToast } from "../components/toast";
import { useI18n } from "../i18n";
import { type BulkChange, undoOf } from "./bulk-change";

type Result = Schemas["BulkResult"];

/**
 * One change for many users: first what would happen, then the result of each. It is one request, and the service changes each user by
 * itself, so what it rejects for one, such as taking the last administrator away, does not stop the others. One's own account stays.
 */
export function BulkDialog({ change, users, onClose }: { change: BulkChange; users: User[]; onClose: () => void }) {
  const i18n = useI18n();
  const { t, n } = i18n;
  const { client, user: me } = useAuth();
  const isSame = (user: User) =>
    (change.role === undefined || user.role === change.role) &&
    (change.is_active === undefined || user.is_active === change.is_active);
  const isKept = (user: User) => isSame(user) || user.id === me?.id;
  const concerned = users.filter((user) => !isKept(user));
  const say = useToast();
  const queries = useQueryClient();
  const send = async (ids: number[], what: BulkChange) => {
    const answer = await client.request<Schemas["BulkResponse"]>("POST", "/admin/users/bulk", {
      body: { ids, change: what },
    });
    return answer.items;
  };
  /** How many were changed, and how many were not. */
  const countsOf = (items: Result[]) => {
    const failed = items.filter(({ outcome }) => outcome === "failed").length;
    const changed = items.filter(({ outcome }) => outcome === "changed").length;
    return `${n("bulk.changed", changed)} ${failed > 0 ? n("bulk.failed", failed) : ""}`;
  };
  const run = useMutation({
    mutationFn: () =>
      send(
        concerned.map(({ id }) => id),
        change,
      ),
    onSuccess: (items) => {
      // What failed is shown user by user.
      if (items.some(({ outcome }) => outcome === "failed")) return;
      onClose();
      const changed = new Set(items.filter(({ outcome }) => outcome === "changed").map(({ id }) => id));
      say(countsOf(items), async () => {
        const back: Result[] = [];
        for (const { ids, change: before } of undoOf(
          change,
          concerned.filter(({ id }) => changed.has(id)),
        ))
          back.push(...(await send(ids, before)));
        await queries.invalidateQueries({ queryKey: ["users"] });
        return countsOf(back);
      });
    },
  });
  const results = new Map<number, Result>(run.data?.map((result) => [result.id, result]));
  const kind = change.role ? "role" : change.is_active ? "activate" : "deactivate";
  const wanted = change.role ? t(`role.${change.role}`) : t(change.is_active ? "users.active" : "users.inactive");

  const resultOf = (user: User): ReactNode => {
    const result = results.get(user.id);
    if (result?.outcome === "failed")
      return <span className="error">{i18n.maybe(`error.${result.code}`) ?? result.detail ?? t("error.unknown")}</span>;
    if (result) return t(result.outcome === "changed" ? "bulk.was_changed" : "bulk.stays");
    if (isKept(user)) return t("bulk.stays");
    return (
      <>
        <ArrowRight className="icon along" /> {wanted}
      </>
    );
  };
  return (
    <Dialog title={n(`bulk.ask_${kind}`, concerned.length, { state: wanted })} onClose={onClose} className="large">
      {run.isIdle && (
        <>
          {users.some(isSame) && <p>{n(`bulk.already_${kind}`, users.filter(isSame).length, { state: wanted })}</p>}
          {change.is_active === false && <p>{t("bulk.signs_out")}</p>}
          {users.some((user) => user.id === me?.id && !isSame(user)) && (
            <Notice kind="note">{t("bulk.leaves_you_out")}</Notice>
          )}
        </>
      )}
      {run.error && <Notice kind="bad">{messageOf(run.error, i18n)}</Notice>}
      <p role="status">{run.isPending ? t("form.sending") : run.isSuccess ? countsOf(run.data) : ""}</p>
      <Table label={t("console.users")} tall columns={[t("field.email"), t("bulk.now"), t("bulk.result")]}>
        {users.map((user) => (
          <tr key={user.id}>
            <th scope="row">
              <bdi dir="ltr">{user.email}</bdi>
            </th>
            <td>{change.role ? t(`role.${user.role}`) : t(user.is_active ? "users.active" : "users.inactive")}</td>
            <td>{resultOf(user)}</td>
          </tr>
        ))}
      </Table>
      <div className="actions">
        {!run.isSuccess && concerned.length > 0 && (
          <button
            type="button"
            className={change.is_active === false ? "button danger" : "button"}
            aria-disabled={run.isPending}
            onClick={() => !run.isPending && run.mutate()}
          >
            {n(`bulk.do_${kind}`, concerned.length)}
          </button>
        )}
        <button type="button" className="button quiet" onClick={onClose}>
          {t(run.isSuccess ? "dialog.close" : "dialog.cancel")}
        </button>
      </div>
    </Dialog>
  );
}
