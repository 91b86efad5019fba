import type { Schemas } from "@josoor/auth";
import { useAuth } from "@josoor/auth/react";
import { Circle, CircleCheck, X } from "lucide-react";
import { type ReactNode, useState } from "react";
import { Link } from "wouter";
import { config } from "../config";
import { type TextKey, useI18n } from "../i18n";
import { SNIPPETS } from "./snippets";

const HIDDEN = "josoor_first_steps";

function isHidden(): boolean {
  try {
    return localStorage.getItem(HIDDEN) === "hidden";
  } catch {
    return false;
  }
}

/** What a new installation needs next; gone once it is done, or hidden. */
export function FirstSteps({ users }: { users: Schemas["UserStats"] }) {
  const { t } = useI18n();
  const { user } = useAuth();
  const [isGone, setGone] = useState(isHidden);
  const toUsers = <Link href="/console/users">{t("steps.invite_go")}</Link>;
  const steps: { title: TextKey; isDone: boolean; content: ReactNode }[] = [
    {
      title: "steps.verify",
      isDone: user?.email_verified === true,
      content: <Link href="/account">{t("steps.verify_go")}</Link>,
    },
    // What others do with the service cannot be seen from here: users of their own can.
    { title: "steps.connect", isDone: users.total > users.admins + users.invited, content: <Snippets /> },
    { title: "steps.invite", isDone: users.total > 1, content: toUsers },
    { title: "steps.second_admin", isDone: users.admins > 1, content: toUsers },
  ];
  if (isGone || steps.every(({ isDone }) => isDone)) return null;
  const hide = () => {
    try {
      localStorage.setItem(HIDDEN, "hidden");
    } catch {
      // Then they are back with the next page.
    }
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
        {steps.map(({ title, isDone, content }) => (
          <li key={title} className={isDone ? "met" : undefined}>
            {isDone ? <CircleCheck className="icon" /> : <Circle className="icon" />}
            <div>
              {t(title)} {isDone && <span className="badge good">{t("steps.done")}</span>}
              {!isDone && <div>{content}</div>}
            </div>
          </li>
        ))}
      </ol>
    </section>
  );
}

function Snippets() {
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
            onClick={() => void navigator.clipboard?.writeText(code).then(() => setCopied(name ?? null))}
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
