import { safeReturnTo } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { Link } from "wouter";
import { AppPage } from "../components/app-page";
import "../later.css";
import { useI18n } from "../i18n";

export function Unauthorized() {
  const { t } = useI18n();
  const { user, logout } = useAuth();
  return (
    <AppPage title="unauthorized.title">
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
    </AppPage>
  );
}

export function NotFound() {
  const { t } = useI18n();
  return (
    <AppPage title="not_found.title">
      <div className="card">
        <p>{t("not_found.lead")}</p>
        <Link className="button" href={safeReturnTo("/account")}>
          {t("unauthorized.account")}
        </Link>
      </div>
    </AppPage>
  );
}
