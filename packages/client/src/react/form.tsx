import {
  createContext,
  type InputHTMLAttributes,
  type KeyboardEvent,
  type ReactNode,
  useContext,
  useEffect,
  useState,
} from "react";
import { isAuthError } from "../index";
import { useSubmission } from "./submission";
import { useWords } from "./texts";

interface FormState {
  id: string;
  errorOf(name: string): string | undefined;
  /** Counts submissions: a shown password is hidden again by each. */
  submissions: number;
}

const Context = createContext<FormState>({ id: "", errorOf: () => undefined, submissions: 0 });

/** What forms have in common with each other, for the application. */
export interface FormProps {
  className?: string | undefined;
  /** Shown below the button. */
  children?: ReactNode;
}

/**
 * A form that keeps what was typed. Nothing is checked before it is sent; then what is wrong stands in a summary, which gets the focus,
 * and beside each field. The button is never disabled: while an answer is awaited, or a limit runs out, pressing it again does nothing.
 */
export function Form({
  className,
  submit,
  onSubmit,
  fields,
  children,
}: FormProps & {
  submit: string;
  onSubmit: (values: Record<string, string>) => Promise<void>;
  fields: ReactNode;
}): ReactNode {
  const words = useWords();
  const { t } = words;
  const submission = useSubmission(onSubmit, {
    required: t("field.required"),
    invalidEmail: t("field.invalid_email"),
    ofCode: (code) => words.maybe(`field.${code}`),
  });
  const { id, wrong, failure, wait, isPending, submissions, hasFailed } = submission;
  const names = Object.keys(wrong);
  return (
    <Context.Provider value={{ id, errorOf: (name) => wrong[name], submissions }}>
      <form
        ref={submission.form}
        className={`ja-form${className ? ` ${className}` : ""}`}
        lang={words.language}
        dir={words.dir}
        method="post"
        noValidate
        aria-busy={isPending}
        onSubmit={submission.onSubmit}
        onInput={submission.onInput}
      >
        {hasFailed && (
          <div className="ja-problem" role="alert" tabIndex={-1} ref={submission.summary}>
            <strong>{t("form.problem")}</strong>
            {failure !== null && (
              <p>
                {isAuthError(failure) && failure.kind === "rate_limited" && wait === 0
                  ? t("form.try_now")
                  : words.messageOf(failure, wait)}
              </p>
            )}
            {names.length > 0 && (
              <ul>
                {names.map((name) => (
                  <li key={name}>
                    <a
                      href={`#${id}-${name}`}
                      onClick={(event) => {
                        event.preventDefault();
                        document.getElementById(`${id}-${name}`)?.focus();
                      }}
                    >
                      {submission.labelOf(name)}: {wrong[name]}
                    </a>
                  </li>
                ))}
              </ul>
            )}
          </div>
        )}
        {fields}
        <button type="submit" className="ja-button" aria-disabled={isPending || wait > 0}>
          {submit}
        </button>
        <p className="ja-status" role="status">
          {isPending ? t("form.sending") : ""}
        </p>
        {children}
      </form>
    </Context.Provider>
  );
}

type InputProps = Omit<InputHTMLAttributes<HTMLInputElement>, "name"> & {
  name: string;
  label: string;
  hint?: string | undefined;
};

/** A field with its label, its hint and what is wrong with it, tied together for screen readers. */
export function Field({
  label,
  hint,
  after,
  input,
}: {
  label: string;
  hint?: string | undefined;
  /** What stands below the input. */
  after?: ReactNode;
  input: InputProps;
}): ReactNode {
  const { id, errorOf } = useContext(Context);
  const { name, label: _, hint: __, ...rest } = input;
  const error = errorOf(name);
  const own = `${id}-${name}`;
  const describedBy = [hint && `${own}-hint`, error && `${own}-error`].filter(Boolean).join(" ");
  return (
    <div className="ja-field" data-invalid={error ? true : undefined}>
      <label htmlFor={own}>{label}</label>
      {hint && (
        <p className="ja-hint" id={`${own}-hint`}>
          {hint}
        </p>
      )}
      {error && (
        <p className="ja-error" id={`${own}-error`}>
          {error}
        </p>
      )}
      <input
        id={own}
        name={name}
        aria-invalid={error ? true : undefined}
        aria-describedby={describedBy || undefined}
        {...rest}
      />
      {after}
    </div>
  );
}

export function TextField(props: InputProps): ReactNode {
  return <Field label={props.label} hint={props.hint} input={{ type: "text", dir: "auto", ...props }} />;
}

export function EmailField(props: Omit<InputProps, "name" | "label">): ReactNode {
  const { t } = useWords();
  return (
    <Field
      label={t("field.email")}
      input={{
        name: "email",
        label: "",
        type: "email",
        inputMode: "email",
        dir: "ltr",
        autoComplete: "username",
        autoCapitalize: "none",
        spellCheck: false,
        required: true,
        ...props,
      }}
    />
  );
}

/** Which script the letters of a text are in: what cannot be seen in a field of dots. */
function scriptOf(text: string): "ar" | "en" | null {
  if (/\p{Script=Arabic}/u.test(text)) return "ar";
  return /\p{Script=Latin}/u.test(text) ? "en" : null;
}

export function PasswordField({ isNew = false, hint }: { isNew?: boolean; hint?: string }): ReactNode {
  const { t, language } = useWords();
  const { id, submissions } = useContext(Context);
  const [isShown, setShown] = useState(false);
  const [hasCaps, setCaps] = useState(false);
  const [value, setValue] = useState("");
  // biome-ignore lint/correctness/useExhaustiveDependencies: hidden again by every submission
  useEffect(() => setShown(false), [submissions]);
  const readCapsLock = (event: KeyboardEvent<HTMLInputElement>) => setCaps(event.getModifierState("CapsLock"));
  const script = scriptOf(value);
  // Most passwords are in Latin letters, so that in Arabic it is worth a word only after a try.
  const isOther = !isShown && script !== null && script !== language && (script === "ar" || submissions > 0);
  const said = [
    hasCaps && t("password.caps_lock"),
    isOther && t(script === "ar" ? "password.arabic_letters" : "password.latin_letters"),
    isShown && t("password.is_shown"),
  ].filter(Boolean);
  const label = t(isNew ? "field.new_password" : "field.password");
  return (
    <Field
      label={label}
      hint={hint}
      input={{
        name: "password",
        label,
        type: isShown ? "text" : "password",
        dir: "ltr",
        autoComplete: isNew ? "new-password" : "current-password",
        autoCapitalize: "none",
        autoCorrect: "off",
        spellCheck: false,
        required: true,
        onKeyDown: readCapsLock,
        onKeyUp: readCapsLock,
        onBlur: () => setCaps(false),
        onInput: (event) => setValue(event.currentTarget.value),
      }}
      after={
        <>
          <button
            type="button"
            className="ja-show"
            aria-controls={`${id}-password`}
            aria-pressed={isShown}
            aria-label={`${t(isShown ? "password.hide" : "password.show")}: ${label}`}
            onClick={() => setShown(!isShown)}
          >
            {t(isShown ? "password.hide" : "password.show")}
          </button>
          <p className="ja-hint" role="status">
            {said.join(" ")}
          </p>
        </>
      }
    />
  );
}
