import { type AuthError, isAuthError } from "@josoor/auth";
import { createContext, type FormEvent, type ReactNode, useContext, useEffect, useId, useRef, useState } from "react";
import { type I18n, useI18n } from "../i18n";

/** What the fields of a form have in common. */
interface FormState {
  id: string;
  /** What is wrong with a field, in the user's language. */
  errorOf(name: string): string | undefined;
  isPending: boolean;
  /** Counts submissions: a shown password is hidden again by each. */
  submissions: number;
}

const Context = createContext<FormState | null>(null);

export function useForm(): FormState {
  const form = useContext(Context);
  if (!form) throw new Error("a field needs a <Form> around it");
  return form;
}

/** The words for a failure: by its code, never the service's own English sentence unless there is nothing else. */
export function messageOf(error: unknown, i18n: I18n, wait?: number): string {
  if (!isAuthError(error)) return i18n.t("error.unknown");
  if (error.kind === "rate_limited")
    return (
      i18n.maybe("error.rate_limited", { duration: i18n.duration(wait ?? error.retryAfter ?? 60) }) ??
      i18n.t("error.unknown")
    );
  return (
    i18n.maybe(`error.${error.code}`) ?? i18n.maybe(`error.${error.kind}`) ?? (error.detail || i18n.t("error.unknown"))
  );
}

const EMAIL = /^[^\s@]+@[^\s@]+$/;

/**
 * A form that keeps what was typed. Nothing is checked before it is sent; then what is wrong stands in a summary, which gets the focus,
 * and beside each field. The button is never disabled: while an answer is awaited, or a limit runs out, pressing it again
 * does nothing and says why.
 */
export function Form({
  children,
  submit,
  onSubmit,
  danger = false,
  passwordField,
  footer,
  done,
  help,
}: {
  children?: ReactNode;
  /** The button's label. */
  submit: string;
  /** Sends the values; what it throws is shown. */
  onSubmit: (values: Record<string, string>) => Promise<void>;
  danger?: boolean;
  /** The field of the account's password, where the form asks for no address: a wrong password is said there. */
  passwordField?: string;
  footer?: ReactNode;
  /** What to say once it is sent, where the form stays on the page. */
  done?: string;
  /** What to do about a failure, by its code. */
  help?: Record<string, ReactNode>;
}) {
  const i18n = useI18n();
  const { t } = i18n;
  const id = useId();
  const form = useRef<HTMLFormElement>(null);
  const summary = useRef<HTMLDivElement>(null);
  const [isPending, setPending] = useState(false);
  const [submissions, setSubmissions] = useState(0);
  const [isDone, setDone] = useState(false);
  const [fields, setFields] = useState<Record<string, string>>({});
  const [failure, setFailure] = useState<AuthError | Error | null>(null);
  const waitsUntil = useCountdown(failure);
  const names = Object.keys(fields);
  const hasFailed = names.length > 0 || failure !== null;

  // A screen reader reads the title first: it says that something went wrong.
  useEffect(() => {
    if (!hasFailed) return;
    const title = document.title;
    document.title = `${t("form.error_title")}: ${title}`;
    return () => {
      document.title = title;
    };
  }, [hasFailed, t]);

  useEffect(() => {
    if (submissions > 0 && hasFailed) summary.current?.focus();
  }, [submissions, hasFailed]);

  const fail = (wrong: Record<string, string>, error: AuthError | Error | null) => {
    setFields(wrong);
    setFailure(error);
  };

  const submitted = async (event: FormEvent) => {
    event.preventDefault();
    const element = form.current;
    if (!element || isPending || waitsUntil > 0) return;
    const values = Object.fromEntries([...new FormData(element)].map(([key, value]) => [key, String(value)]));
    const wrong: Record<string, string> = {};
    for (const input of element.querySelectorAll<HTMLInputElement>("input[name], select[name], textarea[name]")) {
      const value = values[input.name] ?? "";
      if (input.required && value === "") wrong[input.name] = t("field.required");
      else if (input.type === "email" && value && !EMAIL.test(value.trim()))
        wrong[input.name] = t("field.invalid_email");
    }
    setSubmissions((count) => count + 1);
    setDone(false);
    if (Object.keys(wrong).length > 0) return fail(wrong, null);
    setPending(true);
    try {
      await onSubmit(values);
      fail({}, null);
      setDone(true);
    } catch (error) {
      const refused: Record<string, string> = {};
      if (isAuthError(error)) {
        for (const { field, code, message } of error.errors) {
          // What is wrong with something that this form has no field for is said above all fields.
          if (element.elements.namedItem(field)) refused[field] ??= i18n.maybe(`field.${code}`) ?? message;
        }
        if (error.code === "invalid_credentials") {
          if (passwordField) refused[passwordField] = t("field.wrong_password");
          // Unless the next try is being typed already.
          for (const input of element.querySelectorAll<HTMLInputElement>('[autocomplete="current-password"]'))
            if (input.value === values[input.name]) input.value = "";
        }
      }
      fail(refused, Object.keys(refused).length > 0 ? null : error instanceof Error ? error : new Error(String(error)));
    } finally {
      setPending(false);
    }
  };

  // What is being corrected is wrong no longer as far as anybody knows.
  const corrected = (event: FormEvent<HTMLFormElement>) => {
    const { name } = event.target as HTMLInputElement;
    if (name in fields) setFields(Object.fromEntries(Object.entries(fields).filter(([field]) => field !== name)));
  };

  const labelOf = (name: string) =>
    form.current?.querySelector(`label[for="${CSS.escape(`${id}-${name}`)}"]`)?.textContent ?? name;
  return (
    <Context value={{ id, errorOf: (name) => fields[name], isPending, submissions }}>
      <form ref={form} method="post" noValidate onSubmit={submitted} onInput={corrected} aria-busy={isPending}>
        {hasFailed && (
          <div className="notice bad" role="alert" tabIndex={-1} ref={summary}>
            <h2>{t("form.problem")}</h2>
            {failure && (
              <p>
                {isRateLimited(failure) && waitsUntil === 0 ? t("form.try_now") : messageOf(failure, i18n, waitsUntil)}
              </p>
            )}
            {isAuthError(failure) &&
              (help?.[failure.code] ??
                // Where there are no words for it, an administrator can find out more.
                (failure.requestId && !i18n.maybe(`error.${failure.code}`) && failure.kind === "failed" && (
                  <p className="small">{t("error.reference", { id: failure.requestId })}</p>
                )))}
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
                      {labelOf(name)}: {fields[name]}
                    </a>
                  </li>
                ))}
              </ul>
            )}
          </div>
        )}
        {children}
        <div className="actions">
          <button
            type="submit"
            className={danger ? "button danger" : "button"}
            aria-disabled={isPending || waitsUntil > 0}
          >
            {isPending && <span className="spinner" aria-hidden="true" />}
            {submit}
          </button>
          {footer}
        </div>
        <p className={isDone && done ? "sent" : "visually-hidden"} role="status">
          {isPending ? t("form.sending") : isDone ? done : ""}
        </p>
      </form>
    </Context>
  );
}

const isRateLimited = (error: unknown) => isAuthError(error) && error.kind === "rate_limited";

/** How many seconds are left of the limit that an answer named. */
function useCountdown(failure: unknown): number {
  const [left, setLeft] = useState(0);
  useEffect(() => {
    if (!isAuthError(failure) || failure.kind !== "rate_limited") return setLeft(0);
    const seconds = failure.retryAfter ?? 60;
    const start = performance.now();
    const show = () => setLeft(Math.max(0, Math.ceil(seconds - (performance.now() - start) / 1000)));
    show();
    const timer = setInterval(show, 1000);
    return () => clearInterval(timer);
  }, [failure]);
  return left;
}
