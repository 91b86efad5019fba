import { isAuthError, type Role, type User } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { ArrowRight } from "lucide-react";
import { useRef, useState } from "react";
import { Dialog } from "../components/dialog";
import { messageOf } from "../components/form";
import { Notice } from "../components/notice";
import { Table } from "../components/table";
import { useI18n } from "../i18n";

export interface BulkChange {
  role?: Role;
  is_active?: boolean;
}

/** The result for one user. */
type Outcome = "changed" | "skipped" | { failed: string };

/**
 * One change for many users: first what would happen, then the result of each. Every change is a request of its own, so what
 * cannot be done for one, such as taking the last administrator away, does not stand in the way of the others.
 */
export function BulkDialog({ change, users, onClose }: { change: BulkChange; users: User[]; onClose: () => void }) {
  const i18n = useI18n();
  const { t, n } = i18n;
  const { client, user: me } = useAuth();
  const [outcomes, setOutcomes] = useState<Map<number, Outcome>>(new Map());
  const [isRunning, setRunning] = useState(false);
  const isStopped = useRef(false);
  const isSame = (user: User) =>
    (change.role === undefined || user.role === change.role) &&
    (change.is_active === undefined || user.is_active === change.is_active);
  // One's own account last would still end the work under way: it is changed on its own page, if at all.
  const isOwnAccess = (user: User) =>
    user.id === me?.id && (change.is_active === false || (change.role !== undefined && change.role !== "admin"));
  const isKept = (user: User) => isSame(user) || isOwnAccess(user);
  const concerned = users.filter((user) => !isKept(user));
  const isDone = outcomes.size > 0 && !isRunning;
  const failed = [...outcomes.values()].filter((outcome) => typeof outcome === "object").length;
  const changed = [...outcomes.values()].filter((outcome) => outcome === "changed").length;
  const kind = change.role ? "role" : change.is_active ? "activate" : "deactivate";
  const wanted = change.role ? t(`role.${change.role}`) : t(change.is_active ? "users.active" : "users.inactive");

  const run = async () => {
    setRunning(true);
    const found = new Map<number, Outcome>(users.filter(isKept).map((user) => [user.id, "skipped"]));
    for (const user of concerned) {
      if (isStopped.current) break;
      try {
        await client.request<User>("PATCH", `/admin/users/${user.id}`, { body: change });
        found.set(user.id, "changed");
      } catch (error) {
        // Signed out meanwhile: nothing more can be changed.
        if (isAuthError(error) && error.kind === "signed_out") break;
        found.set(user.id, { failed: messageOf(error, i18n) });
      }
      setOutcomes(new Map(found));
    }
    setOutcomes(new Map(found));
    setRunning(false);
  };

  const close = () => {
    isStopped.current = true;
    onClose();
  };
  return (
    <Dialog title={n(`bulk.ask_${kind}`, concerned.length, { state: wanted })} onClose={close} className="large">
      {!isDone && !isRunning && (
        <>
          {users.some(isSame) && <p>{n(`bulk.already_${kind}`, users.filter(isSame).length, { state: wanted })}</p>}
          {change.is_active === false && <p>{t("bulk.signs_out")}</p>}
          {users.some((user) => isOwnAccess(user) && !isSame(user)) && (
            <Notice kind="note">{t("bulk.leaves_you_out")}</Notice>
          )}
        </>
      )}
      <p role="status">
        {isRunning
          ? t("bulk.running", { done: i18n.number(outcomes.size), all: i18n.number(users.length) })
          : isDone
            ? `${n("bulk.changed", changed)} ${failed > 0 ? n("bulk.failed", failed) : ""}`
            : ""}
      </p>
      <Table label={t("console.users")} tall columns={[t("field.email"), t("bulk.now"), t("bulk.result")]}>
        {users.map((user) => {
          const outcome = outcomes.get(user.id);
          return (
            <tr key={user.id}>
              <th scope="row">
                <bdi dir="ltr">{user.email}</bdi>
              </th>
              <td>{change.role ? t(`role.${user.role}`) : t(user.is_active ? "users.active" : "users.inactive")}</td>
              <td>
                {outcome === undefined ? (
                  isKept(user) ? (
                    t("bulk.stays")
                  ) : (
                    <>
                      <ArrowRight className="icon along" /> {wanted}
                    </>
                  )
                ) : typeof outcome === "object" ? (
                  <span className="error">{outcome.failed}</span>
                ) : (
                  t(outcome === "changed" ? "bulk.was_changed" : "bulk.stays")
                )}
              </td>
            </tr>
          );
        })}
      </Table>
      <div className="actions">
        {!isDone && concerned.length > 0 && (
          <button
            type="button"
            className={change.is_active === false ? "button danger" : "button"}
            aria-disabled={isRunning}
            onClick={() => !isRunning && void run()}
          >
            {n(`bulk.do_${kind}`, concerned.length)}
          </button>
        )}
        <button type="button" className="button quiet" onClick={close}>
          {t(isDone ? "dialog.close" : "dialog.cancel")}
        </button>
      </div>
    </Dialog>
  );
}
