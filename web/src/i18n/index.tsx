import { createContext, type ReactNode, use, useCallback, useContext, useMemo, useState } from "react";
import { config } from "../config";
import type { en } from "./en";
import type { more } from "./en.more";
import { type Counted, plural } from "./plural";

export type Language = "en" | "ar";
/** Each by its own name, which its readers know. */
export const LANGUAGES: Record<Language, string> = { en: "English", ar: "العربية" };
type Catalogue = typeof en & typeof more;
export type TextKey = keyof Catalogue;
type Values = Record<string, string | number>;

const base = { en: () => import("./en").then((file) => file.en), ar: () => import("./ar").then((file) => file.ar) };
const rest = {
  en: () => import("./en.more").then((file) => file.more),
  ar: () => import("./ar.more").then((file) => file.more),
};

const loading = new Map<Language, Promise<Catalogue>>();
let wantsMore = false;

/** The texts of a language; those of the pages that come later only once such a page was opened. */
export function texts(language: Language): Promise<Catalogue> {
  let promise = loading.get(language);
  if (!promise) {
    promise = Promise.all([base[language](), wantsMore ? rest[language]() : null]).then(
      (parts) => Object.assign({}, ...parts) as Catalogue,
    );
    // What could not be loaded is asked for again, not refused for good.
    promise.catch(() => loading.delete(language));
    loading.set(language, promise);
  }
  return promise;
}

/** Loads the other texts, beside the page that needs them. */
export async function moreTexts(): Promise<void> {
  wantsMore = true;
  // Into the same object, which is what is being shown: nothing has to be rendered again for it.
  await Promise.all(
    [...loading].map(async ([language, promise]) => Object.assign(await promise, await rest[language]())),
  );
}

/** Latin digits in both languages, as in the platform's charts and tables; the Gregorian calendar. */
const regional: Record<Language, string> = { en: "en-GB", ar: "ar-SA-u-ca-gregory-nu-latn" };

/**
 * Puts values into a text. Each is isolated (Unicode FSI … PDI), because an address or a name of the other script would
 * otherwise pull the punctuation around it to its own side.
 */
export function fill(text: string, values: Values = {}): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => (name in values ? `\u2068${values[name]}\u2069` : whole));
}

/** ٣ and ۳ mean 3. */
export function latinDigits(text: string): string {
  return text.replace(/[\u0660-\u0669\u06f0-\u06f9]/g, (digit) => String(digit.charCodeAt(0) & 0xf));
}

export interface I18n {
  language: Language;
  t(key: TextKey, values?: Values): string;
  /** A counted text. */
  n(key: TextKey, count: number, values?: Values): string;
  /** The text of a key that is put together, such as `error.<code>`; undefined when there is none. */
  maybe(key: string, values?: Values): string | undefined;
  /** The texts whose keys begin so, in their order, each with the rest of its key. */
  entries(prefix: string): [name: string, text: string][];
  number(value: number): string;
  /** A change, such as +12 %. */
  percent(value: number): string;
  date(time: string | number | Date): string;
  dateTime(time: string | number | Date): string;
  /** Hours and minutes. */
  time(time: string | number | Date): string;
  /** A day with its name. */
  day(time: string | number | Date): string;
  /** The name of the day alone. */
  weekday(time: string | number | Date): string;
  /** Day and month, as short as an axis wants them. */
  shortDate(time: string | number | Date): string;
  /** "3 minutes ago"; beyond 30 days the date. */
  relative(time: string | number | Date, now?: number): string;
  /** A length of time to wait. */
  duration(seconds: number): string;
  setLanguage(language: Language): void;
}

const Context = createContext<I18n | null>(null);

export function useI18n(): I18n {
  const value = useContext(Context);
  if (!value) throw new Error("useI18n needs an <I18nProvider> above it");
  return value;
}

export function remember(language: Language) {
  const secure = location.protocol === "https:" ? "; Secure" : "";
  // The server reads it, so that the next page is in this language from its first byte.
  // biome-ignore lint/suspicious/noDocumentCookie: the Cookie Store API is not everywhere
  document.cookie = `josoor_locale=${language}; Path=${config.base || "/"}; Max-Age=31536000; SameSite=Lax${secure}`;
}

export function I18nProvider({ children }: { children: ReactNode }) {
  const [language, setCurrent] = useState<Language>(() => (document.documentElement.lang === "ar" ? "ar" : "en"));
  const catalogue = use(texts(language));
  const setLanguage = useCallback((next: Language) => {
    remember(next);
    if (document.documentElement.lang === next) return;
    // The texts first: nothing on the page, and nothing that was typed, goes away while they come.
    texts(next).then(
      () => {
        document.documentElement.lang = next;
        document.documentElement.dir = next === "ar" ? "rtl" : "ltr";
        setCurrent(next);
      },
      () => {},
    );
  }, []);
  const value = useMemo(() => make(language, catalogue, setLanguage), [language, catalogue, setLanguage]);
  return <Context value={value}>{children}</Context>;
}

export function make(language: Language, catalogue: Catalogue, setLanguage: (language: Language) => void): I18n {
  const place = regional[language];
  const lookUp = catalogue as Record<string, string | Counted>;
  const number = new Intl.NumberFormat(place);
  // The sign of Arabic digits does not go with Latin ones.
  const changes = new Intl.NumberFormat(regional.en, {
    style: "percent",
    signDisplay: "exceptZero",
    maximumFractionDigits: 0,
  });
  const t = (key: string, values?: Values) => {
    const text = lookUp[key];
    return typeof text === "string" ? fill(text, values) : key;
  };
  const n = (key: TextKey, count: number, values?: Values) => {
    const forms = lookUp[key];
    const text = typeof forms === "object" ? plural(language, forms, count) : (forms ?? key);
    return fill(text, { ...values, count: number.format(count) });
  };
  const format = (options: Intl.DateTimeFormatOptions) => {
    const formatter = new Intl.DateTimeFormat(place, options);
    return (time: string | number | Date) => formatter.format(new Date(time));
  };
  // The month by its name, which no reader takes for a day.
  const calendar = { day: "numeric", month: "short", year: "numeric" } as const;
  const clock = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" } as const;
  const date = format(calendar);
  return {
    language,
    t,
    n,
    maybe: (key, values) => (typeof lookUp[key] === "string" ? t(key, values) : undefined),
    entries: (prefix) =>
      Object.keys(lookUp)
        .filter((key) => key.startsWith(prefix))
        .map((key) => [key.slice(prefix.length), t(key)]),
    number: (value) => number.format(value),
    percent: (value) => changes.format(value),
    date,
    dateTime: format({ ...calendar, ...clock }),
    time: format(clock),
    day: format({ weekday: "long", day: "numeric", month: "long" }),
    weekday: format({ weekday: "long" }),
    shortDate: format({ day: "numeric", month: "short" }),
    relative(time, now = Date.now()) {
      const seconds = Math.round((new Date(time).getTime() - now) / 1000);
      const steps: [Intl.RelativeTimeFormatUnit, number][] = [
        ["day", 86400],
        ["hour", 3600],
        ["minute", 60],
      ];
      if (Math.abs(seconds) > 30 * 86400) return date(time);
      const formatter = new Intl.RelativeTimeFormat(place, { numeric: "auto" });
      for (const [unit, length] of steps) {
        if (Math.abs(seconds) >= length) return formatter.format(Math.round(seconds / length), unit);
      }
      return formatter.format(0, "second");
    },
    duration(seconds) {
      const rounded = Math.max(0, Math.ceil(seconds));
      if (rounded >= 21_600) return n("time.hours", Math.ceil(rounded / 3600));
      if (rounded >= 120) return n("time.minutes", Math.ceil(rounded / 60));
      return n("time.seconds", rounded);
    },
    setLanguage,
  };
}
