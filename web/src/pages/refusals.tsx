import { safeReturnTo } from "@josoor/auth";
import { Link } from "wouter";
import { AppPage } from "../components/app-page";
import { Mark } from "../components/mark";
import "../later.css";
import { useI18n } from "../i18n";

export function NotFound() {
  const { t } = useI18n();
  return (
    <AppPage title="not_found.title">
      <div className="card">
        <Mark kind="lost" />
        <p>{t("not_found.lead")}</p>
        <Link className="button" href={safeReturnTo("/account")}>
          {t("unauthorized.account")}
        </Link>
      </div>
    </AppPage>
  );
}
