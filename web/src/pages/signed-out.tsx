import { useAuth } from "@josoor/auth/react";
import { Mark } from "../components/mark";
import { Page } from "../components/page";
import { at, config } from "../config";
import { useI18n } from "../i18n";

/** The page after a sign-out. It comes with the user's menu, so that it is there also when the service is not. */
export function SignedOut() {
  const { t, duration } = useI18n();
  const { reason } = useAuth();
  const isElsewhere = reason === "signed_out_elsewhere";
  const isGone = reason === "account_deleted";
  return (
    <Page title={isGone ? "signed_out.deleted_title" : "signed_out.title"}>
      <div className="card">
        <Mark kind="good" />
        {isGone && config.deletionGrace > 0 ? (
          <p>{t("signed_out.deleted_undo", { duration: duration(config.deletionGrace) })}</p>
        ) : (
          <p>{t(isGone ? "signed_out.deleted" : isElsewhere ? "signed_out.elsewhere" : "signed_out.here")}</p>
        )}
        {!isGone && (
          <a className="button" href={at(`/login${location.search}`)}>
            {t("signed_out.again")}
          </a>
        )}
      </div>
    </Page>
  );
}
