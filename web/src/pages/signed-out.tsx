import { useAuth } from "@josoor/auth/react";
import { Link } from "wouter";
import { Page } from "../components/page";
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
