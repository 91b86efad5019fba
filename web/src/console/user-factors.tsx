import type { Schemas } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Cancel, Dialog } from "../components/dialog";
import { Form } from "../components/form";
import { Result } from "../components/queries";
import { useI18n } from "../i18n";
import type { AdminUser } from "./user-fields";

type Factors = Schemas["FactorsResponse"];

/** What a user verifies with besides the password, and its reset for who has lost it. */
export function UserFactors({
  user,
  onChanged,
  onDone,
}: {
  user: AdminUser;
  onChanged: () => Promise<void>;
  onDone: (text: string) => void;
}) {
  const { t } = useI18n();
  const { client } = useAuth();
  const queries = useQueryClient();
  const [isAsked, setAsked] = useState(false);
  const close = () => setAsked(false);
  const path = `/admin/users/${user.id}/factors`;
  const queryKey = ["user-factors", user.id];
  const factors = useQuery({ queryKey, queryFn: ({ signal }) => client.request<Factors>("GET", path, { signal }) });
  return (
    <section className="card" aria-labelledby="factors">
      <h2 id="factors">{t("account.factors")}</h2>
      <Result of={factors}>{(found) => <Facts factors={found} />}</Result>
      {user.mfa_enabled && !user.deleted_at && (
        <button type="button" className="button risky" onClick={() => setAsked(true)}>
          {t("user.factors_reset")}…
        </button>
      )}
      {isAsked && (
        <Dialog title={t("user.factors_reset")} onClose={close}>
          <p>{t("user.factors_reset_lead")}</p>
          <p>{t("user.factors_reset_mail")}</p>
          <Form
            danger
            submit={t("user.factors_reset")}
            onSubmit={async () => {
              await client.request("DELETE", path);
              close();
              onDone(t("user.factors_removed"));
              await Promise.all([queries.invalidateQueries({ queryKey }), onChanged()]);
            }}
            footer={<Cancel onClick={close} />}
          />
        </Dialog>
      )}
    </section>
  );
}

function Facts({ factors }: { factors: Factors }) {
  const { t, n, date, dateTime } = useI18n();
  const { totp, passkeys } = factors;
  if (!totp && passkeys.length === 0) return <p>{t("user.factors_none")}</p>;
  return (
    <>
      <dl className="facts">
        {totp && (
          <>
            <dt>{t("factors.app")}</dt>
            <dd>{t("factors.on", { date: date(totp.created_at) })}</dd>
            <dt>{t("factors.last_used")}</dt>
            <dd>{totp.last_used_at ? dateTime(totp.last_used_at) : t("users.never")}</dd>
          </>
        )}
        {passkeys.length > 0 && (
          <>
            <dt>{t("passkeys.title")}</dt>
            {passkeys.map((passkey) => (
              <dd key={passkey.id}>
                <bdi>{passkey.name}</bdi> · {t("passkeys.since", { date: date(passkey.created_at) })}
              </dd>
            ))}
          </>
        )}
        <dt>{t("factors.codes")}</dt>
        <dd>{n("factors.left", factors.recovery_codes_left)}</dd>
      </dl>
      <p>{n("user.trusted_devices", factors.trusted_devices)}</p>
    </>
  );
}
