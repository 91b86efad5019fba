import type { Schemas } from "@josoor/auth";
import { useAuth, useUser } from "@josoor/auth/react";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { FileDown, Printer } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { Copy } from "../components/copy";
import { save } from "../components/download";
import { PasswordField, TextField } from "../components/fields";
import { Form, messageOf } from "../components/form";
import { Notice } from "../components/notice";
import { Result } from "../components/queries";
import { Code, Time } from "../components/values";
import { config } from "../config";
import { useI18n } from "../i18n";
import { Passkeys } from "./passkeys";

type Setup = Schemas["TotpSetupResponse"];

/** The passkeys, the authenticator app and the recovery codes: to set up, to replace and to remove. */
export function Factors() {
  const { t } = useI18n();
  const { client } = useAuth();
  const queries = useQueryClient();
  const factors = useQuery({ queryKey: ["factors"], queryFn: () => client.factors.list() });
  const [setup, setSetup] = useState<Setup | null>(null);
  const [codes, setCodes] = useState<string[] | null>(null);
  const refresh = () => queries.invalidateQueries({ queryKey: ["factors"] });
  if (setup)
    return (
      <Confirm
        setup={setup}
        onCancel={() => setSetup(null)}
        onDone={async (given) => {
          setSetup(null);
          setCodes(given);
          await refresh();
        }}
      />
    );
  return (
    <>
      {codes && <RecoveryCodes key={codes[0]} codes={codes} onClose={() => setCodes(null)} />}
      <Result of={factors}>
        {({ totp, passkeys, recovery_codes_left }) => (
          <>
            <p>
              <span className={totp || passkeys.length > 0 ? "badge good" : "badge warn"}>
                {t(totp || passkeys.length > 0 ? "factors.state_on" : "factors.state_off")}
              </span>{" "}
              {t(totp || passkeys.length > 0 ? "factors.lead_on" : "factors.lead_off")}
            </p>
            <Passkeys passkeys={passkeys} onCodes={setCodes} onChange={refresh} />
            {totp ? (
              <Present createdAt={totp.created_at} lastUsedAt={totp.last_used_at} onChange={refresh} />
            ) : (
              <section className="card">
                <h2>{t("factors.app")}</h2>
                <p>{t("factors.lead")}</p>
                <Begin onSetup={setSetup} />
              </section>
            )}
            {(totp || passkeys.length > 0) && (
              <Replace left={recovery_codes_left} onCodes={setCodes} onChange={refresh} />
            )}
          </>
        )}
      </Result>
    </>
  );
}

function Begin({ onSetup }: { onSetup: (setup: Setup) => void }) {
  const { t } = useI18n();
  const { client } = useAuth();
  const user = useUser();
  return (
    <Form
      passwordField="password"
      submit={t("factors.begin")}
      onSubmit={async ({ password = "" }) => onSetup(await client.factors.beginTotp({ password }))}
    >
      <PasswordField name="password" label={t("field.current_password")} email={user?.email} required />
    </Form>
  );
}

function Confirm({
  setup,
  onCancel,
  onDone,
}: {
  setup: Setup;
  onCancel: () => void;
  onDone: (codes: string[] | null) => Promise<void>;
}) {
  const { t } = useI18n();
  const { client } = useAuth();
  return (
    <section className="card">
      <h2>{t("factors.scan")}</h2>
      <p>{t("factors.scan_lead")}</p>
      <div className="scan">
        <img
          src={`data:image/svg+xml,${encodeURIComponent(setup.qr_svg)}`}
          alt={t("factors.qr")}
          width="200"
          height="200"
        />
        <div>
          <p>{t("factors.by_hand")}</p>
          <p>
            <Code>
              {/* In groups to read aloud; copied without spaces. */}
              {Array.from({ length: Math.ceil(setup.secret.length / 4) }, (_, group) => 4 * group).map((start) => (
                <span key={start} className="group">
                  {setup.secret.slice(start, start + 4)}
                </span>
              ))}
            </Code>
          </p>
          <Copy text={setup.secret} of={t("factors.key")} className="button quiet" />
        </div>
      </div>
      <Form
        submit={t("factors.confirm")}
        onSubmit={async ({ code = "" }) => onDone(await client.factors.confirmTotp({ code }))}
        footer={
          <button type="button" className="button quiet" onClick={onCancel}>
            {t("dialog.cancel")}
          </button>
        }
      >
        <TextField
          name="code"
          className="digits"
          label={t("field.code")}
          autoComplete="one-time-code"
          inputMode="numeric"
          dir="ltr"
          required
        />
      </Form>
    </section>
  );
}

/** Runs an act about the factors, and keeps why it failed. */
function useAct(onChange: () => Promise<void>) {
  const [failure, setFailure] = useState<unknown>(null);
  const run = (act: () => Promise<void>) => {
    setFailure(null);
    void act().then(onChange).catch(setFailure);
  };
  return { failure, run };
}

function Present({
  createdAt,
  lastUsedAt,
  onChange,
}: {
  createdAt: string;
  lastUsedAt: string | null;
  onChange: () => Promise<void>;
}) {
  const i18n = useI18n();
  const { t, date } = i18n;
  const { client } = useAuth();
  const { failure, run } = useAct(onChange);
  const [isRemoving, setRemoving] = useState(false);
  return (
    <section className="card">
      {failure !== null && <Notice kind="bad">{messageOf(failure, i18n)}</Notice>}
      <h2>{t("factors.app")}</h2>
      <p>{t("factors.on", { date: date(createdAt) })}</p>
      {lastUsedAt && (
        <p className="small">
          {t("factors.last_used")} <Time at={lastUsedAt} />
        </p>
      )}
      <div className="actions">
        {isRemoving ? (
          <>
            <button type="button" className="button danger" onClick={() => run(client.factors.removeTotp)}>
              {t("factors.remove_now")}
            </button>
            <button type="button" className="button quiet" onClick={() => setRemoving(false)}>
              {t("dialog.cancel")}
            </button>
          </>
        ) : (
          <button type="button" className="button risky" onClick={() => setRemoving(true)}>
            {t("factors.remove")}
          </button>
        )}
      </div>
    </section>
  );
}

function Replace({
  left,
  onCodes,
  onChange,
}: {
  left: number;
  onCodes: (codes: string[]) => void;
  onChange: () => Promise<void>;
}) {
  const i18n = useI18n();
  const { t, n } = i18n;
  const { client } = useAuth();
  const { failure, run } = useAct(onChange);
  return (
    <section className="card">
      {failure !== null && <Notice kind="bad">{messageOf(failure, i18n)}</Notice>}
      <h2>{t("factors.codes")}</h2>
      <p>{n("factors.left", left)}</p>
      <div className="actions">
        <button
          type="button"
          className="button quiet"
          onClick={() => run(async () => onCodes(await client.factors.replaceRecoveryCodes()))}
        >
          {t("factors.replace")}
        </button>
      </div>
    </section>
  );
}

function RecoveryCodes({ codes, onClose }: { codes: string[]; onClose: () => void }) {
  const { t, date, language } = useI18n();
  const user = useUser();
  // What asked for them may be further down the page.
  const title = useRef<HTMLHeadingElement>(null);
  useEffect(() => title.current?.focus(), []);
  // A sheet of paper has to say which account it is for.
  const of = [config.branding.name[language], user?.email ?? "", date(Date.now())];
  const text = codes.join("\n");
  return (
    <section className="card printed" aria-labelledby="recovery-codes">
      <h2 id="recovery-codes" ref={title} tabIndex={-1}>
        {t("factors.keep")}
      </h2>
      <p>{t("factors.keep_lead")}</p>
      <ul className="codes">
        {codes.map((code) => (
          <li key={code}>
            <Code>{code}</Code>
          </li>
        ))}
      </ul>
      <p className="small">
        <bdi>{of[0]}</bdi> · <bdi dir="ltr">{of[1]}</bdi> · <bdi>{of[2]}</bdi>
      </p>
      <div className="actions">
        <button type="button" className="button" onClick={onClose}>
          {t("factors.kept")}
        </button>
        <Copy text={text} of={t("factors.codes")} className="button quiet" />
        <button
          type="button"
          className="button quiet"
          onClick={() =>
            save(
              new Blob([`${of.join("\n")}\n\n${text}\n`], { type: "text/plain;charset=utf-8" }),
              "recovery-codes.txt",
            )
          }
        >
          <FileDown className="icon" />
          {t("factors.download")}
        </button>
        <button type="button" className="button quiet" onClick={() => window.print()}>
          <Printer className="icon" />
          {t("factors.print")}
        </button>
      </div>
    </section>
  );
}
