import {
  createContext,
  type FormEvent,
  type InputHTMLAttributes,
  type KeyboardEvent,
  type ReactNode,
  useContext,
  useEffect,
  useId,
  useRef,
  useState,
} from "react";
import { isAuthError } from "../index";
import { useWords } from "./texts";

interface FormState {
  id: string;
  errorOf(name: string): string | undefined;
  /** Counts submissions: a shown password is hidden again by each. */
  submissions: number;
}

const Context = createContext<FormState>({ id: "", errorOf: () => undefined, submissions: 0 });

const EMAIL = /^[^\s@]+@[^\s@]+$/;

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
  const id = useId();
  const form = useRef<HTMLFormElement>(null);
  const summary = useRef<HTMLDivElement>(null);
  const [isPending, setPending] = useState(false);
  const [submissions, setSubmissions] = useState(0);
  const [wrong, setWrong] = useState<Record<string, string>>({});
  const [failure, setFailure] = useState<unknown>(null);
  const [wait, beginToWait] = useCountdown();
  const names = Object.keys(wrong);
  const hasFailed = names.length > 0 || failure !== null;

  useEffect(() => {
    if (submissions > 0 && hasFailed) summary.current?.focus();
  }, [submissions, hasFailed]);

  const submitted = async (event: FormEvent) => {
    event.preventDefault();
    const element = form.current;
    if (!element || isPending || wait > 0) return;
    const values = Object.fromEntries([...new FormData(element)].map(([key, value]) => [key, String(value)]));
    const missing: Record<string, string> = {};
    for (const input of element.querySelectorAll("input")) {
      const value = values[input.name] ?? "";
      if (input.required && value === "") missing[input.name] = t("field.required");
      else if (input.type === "email" && !EMAIL.test(value.trim())) missing[input.name] = t("field.invalid_email");
    }
    setSubmissions((count) => count + 1);
    setFailure(null);
    setWrong(missing);
    if (Object.keys(missing).length > 0) return;
    setPending(true);
    try {
      await onSubmit(values);
    } catch (error) {
      const refused: Record<string, string> = {};
      // What is wrong with something that this form has no field for is said above all fields.
      for (const { field, code, message } of isAuthError(error) ? error.errors : [])
        if (element.elements.namedItem(field)) refused[field] ??= words.maybe(`field.${code}`) ?? message;
      if (isAuthError(error, "invalid_credentials"))
        // Unless the next try is being typed already.
        for (const input of element.querySelectorAll<HTMLInputElement>('[autocomplete="current-password"]'))
          if (input.value === values[input.name]) input.value = "";
      setWrong(refused);
      beginToWait(isAuthError(error) && error.kind === "rate_limited" ? (error.retryAfter ?? 60) : 0);
      setFailure(Object.keys(refused).length > 0 ? null : error);
    } finally {
      setPending(false);
    }
  };

  /** What is being corrected is wrong no longer as far as anybody knows. */
  const corrected = (event: FormEvent<HTMLFormElement>) => {
    const { name } = event.target as HTMLInputElement;
    if (name in wrong) setWrong(Object.fromEntries(Object.entries(wrong).filter(([field]) => field !== name)));
  };

  const labelOf = (name: string) =>
    form.current?.querySelector(`label[for="${id}-${name}"]`)?.firstChild?.textContent ?? name;
  return (
    <Context.Provider value={{ id, errorOf: (name) => wrong[name], submissions }}>
      <form
        ref={form}
        className={`ja-form${className ? ` ${className}` : ""}`}
        lang={words.language}
        dir={words.dir}
        method="post"
        noValidate
        aria-busy={isPending}
        onSubmit={(event) => void submitted(event)}
        onInput={corrected}
      >
        {hasFailed && (
          <div className="ja-problem" role="alert" tabIndex={-1} ref={summary}>
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
                      {labelOf(name)}: {wrong[name]}
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

/** How many seconds are left of a limit, and what begins to count them: at once, so that no moment shows none. */
function useCountdown(): [left: number, begin: (seconds: number) => void] {
  const [limit, setLimit] = useState({ seconds: 0, start: 0 });
  const [left, setLeft] = useState(0);
  useEffect(() => {
    if (limit.seconds === 0) return;
    const show = () => setLeft(Math.max(0, Math.ceil(limit.seconds - (performance.now() - limit.start) / 1000)));
    const timer = setInterval(show, 1000);
    return () => clearInterval(timer);
  }, [limit]);
  const begin = (seconds: number) => {
    setLeft(seconds);
    setLimit({ seconds, start: performance.now() });
  };
  return [left, begin];
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
