import { useAuth } from "@josoor/auth/react";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "wouter";
import { Pager } from "../components/pager";
import { Result } from "../components/queries";
import { Code, Time } from "../components/values";
import { useI18n } from "../i18n";

const PAGE_SIZE = 20;

export function Activity() {
  const { t, maybe } = useI18n();
  const { client } = useAuth();
  const [page, setPage] = useState(1);
  const activity = useQuery({
    queryKey: ["activity", page],
    queryFn: () => client.activity({ page, page_size: PAGE_SIZE }),
    placeholderData: keepPreviousData,
  });
  return (
    <>
      <p>{t("activity.lead")}</p>
      <div className="card">
        <h2>{t("activity.not_me")}</h2>
        <p>{t("activity.not_me_lead")}</p>
        <p className="actions">
          <Link className="button quiet" href="/account/password">
            {t("account.password")}
          </Link>
          <Link className="button quiet" href="/account/sessions">
            {t("sessions.remove_all")}
          </Link>
        </p>
      </div>
      <Result of={activity}>
        {({ items, total }) =>
          items.length === 0 ? (
            <p>{t("activity.none")}</p>
          ) : (
            <>
              <ol className="cards">
                {items.map((row) => (
                  <li key={row.id} className="card row">
                    <div>
                      <h2>
                        {maybe(`action.${row.action}`) ?? row.action}{" "}
                        {row.outcome === "failure" && <span className="badge bad">{t("activity.failed")}</span>}
                        {row.by_other && <span className="badge">{t("activity.by_other")}</span>}
                      </h2>
                      <p className="small">
                        <Time at={row.at} />
                        {row.ip && (
                          <>
                            {" · "}
                            <Code>{row.ip}</Code>
                          </>
                        )}
                        {row.reason && <> · {maybe(`audit_reason.${row.reason}`) ?? <Code>{row.reason}</Code>}</>}
                      </p>
                    </div>
                  </li>
                ))}
              </ol>
              <Pager page={page} pages={Math.ceil(total / PAGE_SIZE)} onPage={setPage} />
            </>
          )
        }
      </Result>
    </>
  );
}
