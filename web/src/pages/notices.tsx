import { safeReturnTo } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { Link } from "wouter";
import { Page } from "../components/layout";
import { withReturnTo } from "../components/return-to";
import { config } from "../config";
import { useI18n } from "../i18n";

export function SignedOut() {
  const { t, duration } = useI18n();
  const { reason } = useAuth();
  const isElsewhere = reason === "signed_out_elsewhere";
  const isGone = reason === "account_deleted";
  return (
    <Page title={isGone ? "signed_out.deleted_title" : "signed_out.title"}>
      <div className="card">
        {isGone && config.deletionGrace > 0 ? (
          <p>{t("signed_out.deleted_undo", { duration: duration(config.deletionGrace) })}</p>
        ) : (
          <p>{t(isGone ? "signed_out.deleted" : isElsewhere ? "signed_out.elsewhere" : "signed_out.here")}</p>
        )}
        {!isGone && (
          <Link className="button" href={withReturnTo("/login")}>
            {t("signed_out.again")}
          </Link>
        )}
      </div>
    </Page>
  );
}

export function Unauthorized() {
  const { t } = useI18n();
  const { user, logout } = useAuth();
  return (
    <Page title="unauthorized.title">
      <div className="card">
        <p>{t("error.insufficient_role")}</p>
        {user && <p>{t("unauthorized.as", { email: user.email, role: t(`role.${user.role}`) })}</p>}
        <p className="actions">
          <Link className="button" href="/account">
            {t("unauthorized.account")}
          </Link>
          {user && (
            <button type="button" className="button quiet" onClick={() => void logout()}>
              {t("unauthorized.other")}
            </button>
          )}
        </p>
      </div>
    </Page>
  );
}

export function NotFound() {
  const { t } = useI18n();
  return (
    <Page title="not_found.title">
      <div className="card">
        <p>{t("not_found.lead")}</p>
        <Link className="button" href={safeReturnTo("/account")}>
          {t("unauthorized.account")}
        </Link>
      </div>
    </Page>
  );
}
