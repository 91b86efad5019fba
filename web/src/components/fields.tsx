import { type ComponentProps, type KeyboardEvent, type ReactNode, useEffect, useState } from "react";
import { config } from "../config";
import { LANGUAGES, type Language, useI18n } from "../i18n";
import { useForm } from "./form";

interface FieldProps {
  name: string;
  label: string;
  hint?: ReactNode;
  required?: boolean;
  defaultValue?: string;
  autoComplete: string;
}

/** What an input and what is said about it are called, so that they belong together for whoever hears the page. */
function useField(name: string, hint: unknown) {
  const { id, errorOf } = useForm();
  const error = errorOf(name);
  const input = `${id}-${name}`;
  const describedBy = [hint ? `${input}-hint` : "", error ? `${input}-error` : ""].filter(Boolean).join(" ");
  return {
    input,
    error,
    aria: { "aria-describedby": describedBy || undefined, "aria-invalid": error ? true : undefined },
  };
}

function Frame({
  input,
  label,
  hint,
  error,
  children,
}: {
  input: string;
  label: string;
  hint?: ReactNode;
  error: string | undefined;
  children: ReactNode;
}) {
  return (
    <div className={error ? "field wrong" : "field"}>
      <label htmlFor={input}>{label}</label>
      {hint && (
        <div className="hint" id={`${input}-hint`}>
          {hint}
        </div>
      )}
      {error && (
        <p className="error" id={`${input}-error`}>
          {error}
        </p>
      )}
      {children}
    </div>
  );
}

export function TextField({ name, label, hint, ...rest }: FieldProps & Omit<ComponentProps<"input">, "name">) {
  const { input, error, aria } = useField(name, hint);
  return (
    <Frame input={input} label={label} hint={hint} error={error}>
      <input id={input} name={name} type="text" dir="auto" {...aria} {...rest} />
    </Frame>
  );
}

/** Names of mail services that are often mistyped; the hint is a suggestion and never stands in the way. */
const DOMAINS = [
  "gmail.com",
  "hotmail.com",
  "outlook.com",
  "yahoo.com",
  "icloud.com",
  "outlook.sa",
  "mail.com",
  "ymail.com",
  "live.com",
];

export function suggestedEmail(value: string): string | null {
  const [local, domain] = value.trim().toLowerCase().split("@");
  if (!local || !domain || DOMAINS.includes(domain)) return null;
  const close = DOMAINS.find((candidate) => distance(candidate, domain) === 1);
  return close ? `${value.trim().split("@")[0]}@${close}` : null;
}

/** 1 when one letter is missing, too much, different or swapped; 2 for anything more. */
function distance(a: string, b: string): number {
  if (a === b) return 0;
  if (Math.abs(a.length - b.length) > 1) return 2;
  let i = 0;
  while (i < a.length && a[i] === b[i]) i += 1;
  const rest = (text: string, from: number) => text.slice(from);
  const isOne =
    rest(a, i + 1) === rest(b, i + 1) ||
    rest(a, i) === rest(b, i + 1) ||
    rest(a, i + 1) === rest(b, i) ||
    (a[i] === b[i + 1] && a[i + 1] === b[i] && rest(a, i + 2) === rest(b, i + 2));
  return isOne ? 1 : 2;
}

export function EmailField({
  suggest = false,
  ...props
}: Omit<FieldProps, "autoComplete"> & { autoComplete?: string; suggest?: boolean; autoFocus?: boolean }) {
  const { t } = useI18n();
  const { name, label, hint, suggest: _, ...rest } = { ...props, suggest };
  const { input, error, aria } = useField(name, hint);
  const [better, setBetter] = useState<string | null>(null);
  return (
    <Frame input={input} label={label} hint={hint} error={error}>
      <input
        id={input}
        name={name}
        type="email"
        inputMode="email"
        dir="ltr"
        autoComplete="username"
        autoCapitalize="none"
        spellCheck={false}
        onBlur={(event) => setBetter(suggest ? suggestedEmail(event.target.value) : null)}
        {...aria}
        {...rest}
      />
      <p className="hint" role="status">
        {better && (
          <>
            {t("field.email_suggestion")}{" "}
            <button
              type="button"
              className="link"
              onClick={() => {
                const element = document.getElementById(input) as HTMLInputElement;
                element.value = better;
                element.focus();
                setBetter(null);
              }}
            >
              <bdi dir="ltr">{better}</bdi>
            </button>
          </>
        )}
      </p>
    </Frame>
  );
}

/** The languages, each by its own name. */
export function LanguageSelect({ value, hint }: { value: Language; hint?: string }) {
  const { t } = useI18n();
  const { input, error, aria } = useField("locale", hint);
  return (
    <Frame input={input} label={t("field.language")} hint={hint} error={error}>
      <select key={value} id={input} name="locale" defaultValue={value} autoComplete="language" {...aria}>
        {Object.entries(LANGUAGES).map(([language, name]) => (
          <option key={language} value={language} lang={language}>
            {name}
          </option>
        ))}
      </select>
    </Frame>
  );
}

/** Which script the letters of a text are in: what cannot be seen in a field of dots. */
function scriptOf(text: string): "ar" | "en" | null {
  if (/\p{Script=Arabic}/u.test(text)) return "ar";
  return /\p{Script=Latin}/u.test(text) ? "en" : null;
}

export function PasswordField({
  isNew = false,
  email,
  ...props
}: Omit<FieldProps, "autoComplete"> & {
  /** A password to set: the rules stand above it, and are ticked off while it is typed. */
  isNew?: boolean;
  /** The address of the account, for password managers, where the form has no field for it. */
  email?: string | undefined;
}) {
  const { t, n, language } = useI18n();
  const { submissions } = useForm();
  const { name, label, ...rest } = props;
  const [isShown, setShown] = useState(false);
  const [hasCaps, setCaps] = useState(false);
  const [value, setValue] = useState("");
  const hint = isNew ? <NewPasswordRules value={value} /> : props.hint;
  const { input, error, aria } = useField(name, hint);

  // biome-ignore lint/correctness/useExhaustiveDependencies: hidden again by every submission
  useEffect(() => setShown(false), [submissions]);

  const look = (event: KeyboardEvent<HTMLInputElement>) => setCaps(event.getModifierState("CapsLock"));
  const script = scriptOf(value);
  // What cannot be seen in a row of dots: that the keyboard is set to the other language.
  const isOther = !isShown && script !== null && script !== language;
  const said = [
    hasCaps ? t("password.caps_lock") : "",
    isOther ? t(script === "ar" ? "password.arabic_letters" : "password.latin_letters") : "",
    isShown ? t("password.is_shown") : "",
  ].filter(Boolean);
  return (
    <Frame input={input} label={label} hint={hint} error={error}>
      {email !== undefined && (
        <input
          className="visually-hidden"
          type="text"
          name="username"
          autoComplete="username"
          value={email}
          readOnly
          tabIndex={-1}
          aria-hidden="true"
        />
      )}
      <div className="password">
        <input
          id={input}
          name={name}
          type={isShown ? "text" : "password"}
          dir="ltr"
          autoComplete={isNew ? "new-password" : "current-password"}
          autoCapitalize="none"
          autoCorrect="off"
          spellCheck={false}
          onKeyDown={look}
          onKeyUp={look}
          onBlur={() => setCaps(false)}
          onInput={(event) => setValue(event.currentTarget.value)}
          {...aria}
          {...rest}
        />
        <button
          type="button"
          className="button quiet"
          aria-controls={input}
          aria-pressed={isShown}
          onClick={() => setShown(!isShown)}
        >
          {isShown ? t("password.hide") : t("password.show")}
          <span className="visually-hidden">: {label}</span>
        </button>
      </div>
      <p className="hint" role="status">
        {said.join(" ")}
      </p>
      {isNew && value !== "" && (
        <p className="visually-hidden" role="status">
          {isLongEnough(value) ? t("password.long_enough") : n("password.at_least", config.passwordMinLength)}
        </p>
      )}
    </Frame>
  );
}

/** Characters, not UTF-16 units: an emoji or an Arabic letter with a mark is counted as the server counts it. */
const isLongEnough = (value: string) => [...value.normalize("NFC")].length >= config.passwordMinLength;

function NewPasswordRules({ value }: { value: string }) {
  const { t, n } = useI18n();
  return (
    <ul className="rules">
      <li className={isLongEnough(value) ? "met" : undefined}>{n("password.at_least", config.passwordMinLength)}</li>
      <li>{t("password.not_common")}</li>
      <li>{t("password.anything")}</li>
    </ul>
  );
}
