import { type ComponentProps, type KeyboardEvent, type ReactNode, useEffect, useState } from "react";
import { config } from "../config";
import { useI18n } from "../i18n";
import { useForm } from "./form";

interface FieldProps {
  name: string;
  label: string;
  hint?: ReactNode;
  /** May stay empty, which is said beside the label. */
  isOptional?: boolean;
  required?: boolean;
  defaultValue?: string;
  autoComplete: string;
}

/** The ids that tie an input to its hint and its error, for screen readers. */
export function useField(name: string, hint: unknown) {
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

export function Frame({
  input,
  label,
  hint,
  isAside = false,
  error,
  children,
}: {
  input: string;
  label: string;
  hint?: ReactNode;
  /** The hint stands on the label's line. */
  isAside?: boolean;
  error: string | undefined;
  children: ReactNode;
}) {
  return (
    <div className={error ? "field wrong" : "field"}>
      <label htmlFor={input}>{label}</label>
      {hint && (
        <div className={isAside ? "hint aside" : "hint"} id={`${input}-hint`}>
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

export function TextField({
  name,
  label,
  isOptional = false,
  hint,
  ...rest
}: FieldProps & Omit<ComponentProps<"input">, "name">) {
  const { t } = useI18n();
  const shown = isOptional ? t("field.optional") : hint;
  const { input, error, aria } = useField(name, shown);
  return (
    <Frame input={input} label={label} hint={shown} isAside={isOptional} error={error}>
      <input id={input} name={name} type="text" dir="auto" {...aria} {...rest} />
    </Frame>
  );
}

export function EmailField({
  suggest,
  ...props
}: Omit<FieldProps, "autoComplete"> & {
  autoComplete?: string;
  /** Gives the address that may have been meant, if any. */
  suggest?: (value: string) => string | null;
  autoFocus?: boolean;
}) {
  const { t } = useI18n();
  const { name, label, hint, ...rest } = props;
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
        onBlur={(event) => setBetter(suggest?.(event.target.value) ?? null)}
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

  const readCapsLock = (event: KeyboardEvent<HTMLInputElement>) => setCaps(event.getModifierState("CapsLock"));
  const script = scriptOf(value);
  // What cannot be seen in a row of dots: that the keyboard is set to the other language. Most passwords are in Latin letters, so that in
  // Arabic it is worth a word only after a try.
  const isOther = !isShown && script !== null && script !== language && (script === "ar" || submissions > 0);
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
          {...(isNew ? { passwordrules: `minlength: ${config.passwordMinLength};` } : {})}
          autoCapitalize="none"
          autoCorrect="off"
          spellCheck={false}
          onKeyDown={readCapsLock}
          onKeyUp={readCapsLock}
          onBlur={() => setCaps(false)}
          onInput={(event) => setValue(event.currentTarget.value)}
          {...aria}
          {...rest}
        />
        <button type="button" aria-controls={input} aria-pressed={isShown} onClick={() => setShown(!isShown)}>
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
