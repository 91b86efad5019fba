import { type FormEvent, type RefObject, useEffect, useId, useRef, useState } from "react";
import { isAuthError } from "../index";

/** What a form says of a field. */
export interface FieldWords {
  required: string;
  invalidEmail: string;
  /** Of the field with the account's password, when that is wrong. */
  wrongPassword?: string;
  /** By the code of the service; undefined where there are no words for it. */
  ofCode(code: string): string | undefined;
}

/** A form that is being filled in, and what came of sending it. */
export interface Submission {
  /** Before the name of a field this is its id. */
  id: string;
  /** For the form. */
  form: RefObject<HTMLFormElement | null>;
  /** For the summary of what is wrong, which gets the focus. */
  summary: RefObject<HTMLDivElement | null>;
  onSubmit(event: FormEvent): void;
  onInput(event: FormEvent<HTMLFormElement>): void;
  isPending: boolean;
  /** Whether the last one was sent without a failure. */
  isDone: boolean;
  /** Counts submissions: a shown password is hidden again by each. */
  submissions: number;
  /** What is wrong with each field, by its name. */
  wrong: Record<string, string>;
  /** What is wrong besides; null for nothing. */
  failure: unknown;
  hasFailed: boolean;
  /** How many seconds are left of a limit; 0 for none. */
  wait: number;
  /** The text of a field's label. */
  labelOf(name: string): string;
}

const EMAIL = /^[^\s@]+@[^\s@]+$/;

/**
 * The behaviour of a form that keeps what was typed. Nothing is checked before it is sent; then what is wrong stands in a summary, and
 * beside each field. The button is never disabled: while an answer is awaited, or a limit runs out, pressing it again does nothing.
 * `passwordField` is the field of the account's password in a form that asks for no address: a wrong password is said there.
 */
export function useSubmission(
  send: (values: Record<string, string>) => Promise<void>,
  words: FieldWords,
  passwordField?: string,
): Submission {
  const id = useId();
  const form = useRef<HTMLFormElement>(null);
  const summary = useRef<HTMLDivElement>(null);
  const [isPending, setPending] = useState(false);
  const [isDone, setDone] = useState(false);
  const [submissions, setSubmissions] = useState(0);
  const [wrong, setWrong] = useState<Record<string, string>>({});
  const [failure, setFailure] = useState<unknown>(null);
  const [wait, beginToWait] = useCountdown();
  const hasFailed = Object.keys(wrong).length > 0 || failure !== null;

  useEffect(() => {
    if (submissions > 0 && hasFailed) summary.current?.focus();
  }, [submissions, hasFailed]);

  const submit = async () => {
    const element = form.current;
    if (!element || isPending || wait > 0) return;
    const values = Object.fromEntries([...new FormData(element)].map(([key, value]) => [key, String(value)]));
    const missing: Record<string, string> = {};
    for (const input of element.querySelectorAll<HTMLInputElement>("input[name], select[name], textarea[name]")) {
      const value = values[input.name] ?? "";
      if (input.required && value === "") missing[input.name] = words.required;
      else if (input.type === "email" && value && !EMAIL.test(value.trim())) missing[input.name] = words.invalidEmail;
    }
    setSubmissions((count) => count + 1);
    setDone(false);
    setFailure(null);
    setWrong(missing);
    if (Object.keys(missing).length > 0) return;
    setPending(true);
    try {
      await send(values);
      setDone(true);
    } catch (error) {
      const refused: Record<string, string> = {};
      // What is wrong with something that this form has no field for is said above all fields.
      for (const { field, code, message } of isAuthError(error) ? error.errors : [])
        if (element.elements.namedItem(field)) refused[field] ??= words.ofCode(code) ?? message;
      if (isAuthError(error, "invalid_credentials")) {
        if (passwordField && words.wrongPassword) refused[passwordField] = words.wrongPassword;
        // Unless the next try is being typed already.
        for (const input of element.querySelectorAll<HTMLInputElement>('[autocomplete="current-password"]'))
          if (input.value === values[input.name]) input.value = "";
      }
      setWrong(refused);
      beginToWait(isAuthError(error) && error.kind === "rate_limited" ? (error.retryAfter ?? 60) : 0);
      setFailure(Object.keys(refused).length > 0 ? null : error);
    } finally {
      setPending(false);
    }
  };

  return {
    id,
    form,
    summary,
    onSubmit: (event) => {
      event.preventDefault();
      void submit();
    },
    // What is being corrected is wrong no longer as far as anybody knows.
    onInput: (event) => {
      const { name } = event.target as HTMLInputElement;
      if (name in wrong) setWrong(Object.fromEntries(Object.entries(wrong).filter(([field]) => field !== name)));
    },
    isPending,
    isDone,
    submissions,
    wrong,
    failure,
    hasFailed,
    wait,
    labelOf: (name) => form.current?.querySelector(`label[for="${id}-${name}"]`)?.textContent ?? name,
  };
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
