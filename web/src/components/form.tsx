import { isAuthError } from "@josoor/auth";
import { useSubmission } from "@josoor/auth/react";
import { createContext, type ReactNode, useContext, useEffect } from "react";
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
  isAsleep = false,
  passwordField,
  footer,
  done,
  help,
  onInput,
}: {
  children?: ReactNode;
  /** The button's label. */
  submit: string;
  /** Sends the values; what it throws is shown. */
  onSubmit: (values: Record<string, string>) => Promise<void>;
  danger?: boolean;
  /** Cannot be sent yet, and looks so. */
  isAsleep?: boolean;
  /** The field of the account's password, where the form asks for no address: a wrong password is said there. */
  passwordField?: string;
  footer?: ReactNode;
  /** What to say once it is sent, where the form stays on the page. */
  done?: string;
  /** What to do about a failure, by its code. */
  help?: Record<string, ReactNode>;
  /** Something was typed or chosen. */
  onInput?: () => void;
}) {
  const i18n = useI18n();
  const { t } = i18n;
  const submission = useSubmission(
    onSubmit,
    {
      required: t("field.required"),
      invalidEmail: t("field.invalid_email"),
      wrongPassword: t("field.wrong_password"),
      ofCode: (code) => i18n.maybe(`field.${code}`),
    },
    passwordField,
  );
  const { id, wrong, failure, wait, isPending, isDone, submissions, hasFailed } = submission;
  const names = Object.keys(wrong);

  // A screen reader reads the title first: it says that something went wrong.
  useEffect(() => {
    if (!hasFailed) return;
    const title = document.title;
    document.title = `${t("form.error_title")}: ${title}`;
    return () => {
      document.title = title;
    };
  }, [hasFailed, t]);

  return (
    <Context value={{ id, errorOf: (name) => wrong[name], isPending, submissions }}>
      <form
        ref={submission.form}
        method="post"
        noValidate
        onSubmit={(event) => (isAsleep ? event.preventDefault() : submission.onSubmit(event))}
        onInput={(event) => {
          submission.onInput(event);
          onInput?.();
        }}
        aria-busy={isPending}
      >
        {hasFailed && (
          <div className="notice bad" role="alert" tabIndex={-1} ref={submission.summary}>
            <h2>{t("form.problem")}</h2>
            {failure !== null && (
              <p>{isRateLimited(failure) && wait === 0 ? t("form.try_now") : messageOf(failure, i18n, wait)}</p>
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
                      {submission.labelOf(name)}: {wrong[name]}
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
            aria-disabled={isPending || isAsleep || wait > 0}
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
