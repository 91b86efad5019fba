import type { Schemas } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { Circle, CircleCheck, X } from "lucide-react";
import { type ReactNode, useState } from "react";
import { Link } from "wouter";
import { config } from "../config";
import { type TextKey, useI18n } from "../i18n";
import { SNIPPETS } from "./snippets";

/** What this browser remembers of the steps: where it forgets, they are shown again. */
const remembered = (name: "hidden" | "copied") => {
  try {
    return localStorage.getItem(`josoor_first_steps_${name}`) === "1";
  } catch {
    return false;
  }
};
const remember = (name: "hidden" | "copied") => {
  try {
    localStorage.setItem(`josoor_first_steps_${name}`, "1");
  } catch {
    // Then it holds for this page.
  }
};

/** What a new installation needs next; gone once it is done, or hidden. */
export function FirstSteps({ users }: { users: Schemas["UserStats"] }) {
  const { t } = useI18n();
  const { user } = useAuth();
  const [isGone, setGone] = useState(() => remembered("hidden"));
  const [isConnected, setConnected] = useState(() => remembered("copied"));
  const toUsers = <Link href="/console/users">{t("steps.invite_go")}</Link>;
  const steps: { title: TextKey; isDone: boolean; content: ReactNode }[] = [
    {
      title: "steps.verify",
      isDone: user?.email_verified === true,
      content: <Link href="/account">{t("steps.verify_go")}</Link>,
    },
    // What applications do with the service cannot be seen from here; that their lines were copied can.
    {
      title: "steps.connect",
      isDone: false,
      content: (
        <Snippets
          onCopied={() => {
            remember("copied");
            setConnected(true);
          }}
        />
      ),
    },
    { title: "steps.invite", isDone: users.total > 1, content: toUsers },
    { title: "steps.second_admin", isDone: users.admins > 1, content: toUsers },
  ];
  const isTicked = (step: (typeof steps)[number]) => step.isDone || (step.title === "steps.connect" && isConnected);
  if (isGone || steps.every(isTicked)) return null;
  const hide = () => {
    remember("hidden");
    setGone(true);
  };
  return (
    <section className="card" aria-labelledby="first-steps">
      <div className="heading">
        <h2 id="first-steps">{t("steps.title")}</h2>
        <button type="button" className="icon-button" aria-label={t("steps.hide")} onClick={hide}>
          <X className="icon" />
        </button>
      </div>
      <ol className="steps">
        {steps.map((step) => (
          <li key={step.title} className={isTicked(step) ? "met" : undefined}>
            {isTicked(step) ? <CircleCheck className="icon" /> : <Circle className="icon" />}
            <div>
              {t(step.title)} {isTicked(step) && <span className="badge good">{t("steps.done")}</span>}
              {!step.isDone && <div>{step.content}</div>}
            </div>
          </li>
        ))}
      </ol>
    </section>
  );
}

function Snippets({ onCopied }: { onCopied: () => void }) {
  const { t } = useI18n();
  const [name, setName] = useState(SNIPPETS[0]?.[0]);
  const [copied, setCopied] = useState<string | null>(null);
  const [, file, text] = SNIPPETS.find(([one]) => one === name) ?? SNIPPETS[0] ?? ["", "", () => ""];
  const code = text(`${location.origin}${config.base}`);
  return (
    <details>
      <summary>{t("steps.connect_lead")}</summary>
      <p className="actions" role="group" aria-label={t("steps.connect")}>
        {SNIPPETS.map(([one]) => (
          <button
            type="button"
            key={one}
            className="button quiet"
            aria-pressed={one === name}
            onClick={() => setName(one)}
          >
            {one}
          </button>
        ))}
      </p>
      <div className="snippet" dir="ltr" lang="en">
        <p>
          <bdi className="code">{file}</bdi>{" "}
          <button
            type="button"
            className="link"
            onClick={() =>
              void navigator.clipboard?.writeText(code).then(() => {
                setCopied(name ?? null);
                onCopied();
              })
            }
          >
            <span role="status">{t(copied === name ? "steps.copied" : "steps.copy")}</span>
          </button>
        </p>
        <pre tabIndex={0} role="region" aria-label={file}>
          {code}
        </pre>
      </div>
    </details>
  );
}
