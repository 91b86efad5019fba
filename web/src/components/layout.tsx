import { Show, useAuth } from "@josoor/auth/react";
import { type ReactNode, useEffect, useRef, useState } from "react";
import { Link, useLocation } from "wouter";
import { at } from "../config";
import { LANGUAGES, type Language, type TextKey, useI18n } from "../i18n";

/** The frame of every page: name, language, theme, who is signed in, and whether the service can be reached. */
export function Page({
  title,
  wide = false,
  nav,
  children,
}: {
  title?: TextKey;
  wide?: boolean;
  nav?: ReactNode;
  children: ReactNode;
}) {
  const { t } = useI18n();
  useTitle(title ? t(title) : undefined);
  return (
    <>
      <a className="skip" href="#main">
        {t("layout.skip")}
      </a>
      <header className="top">
        <Link href="/account" className="brand">
          <img src={at("/assets/icon.svg")} alt="" width="28" height="28" />
          JOSOOR
        </Link>
        {nav}
        <div className="tools">
          <ThemeSwitch />
          <LanguageSwitch />
          <Show when="signed-in">
            <UserMenu />
          </Show>
        </div>
      </header>
      <Connectivity />
      <main id="main" className={wide ? "wide" : undefined} tabIndex={-1}>
        {title && <h1>{t(title)}</h1>}
        {children}
      </main>
    </>
  );
}

/** Sets the title and, on the way from one page to the next, moves the focus to where the new one begins. */
export function useTitle(title: string | undefined) {
  const isFirst = useRef(true);
  const [location] = useLocation();
  useEffect(() => {
    if (title) document.title = `${title} · JOSOOR`;
  }, [title]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: at every change of place
  useEffect(() => {
    if (isFirst.current) isFirst.current = false;
    else document.getElementById("main")?.focus({ preventScroll: true });
  }, [location]);
}

function LanguageSwitch() {
  const { language, setLanguage } = useI18n();
  const { status, client } = useAuth();
  const other: Language = language === "en" ? "ar" : "en";
  return (
    <button
      type="button"
      className="button quiet"
      lang={other}
      onClick={() => {
        setLanguage(other);
        // It is the user's own choice now, for mails as well. If it does not get there, the page is in it anyway.
        if (status === "signed-in") void client.updateMe({ locale: other }).catch(() => {});
      }}
    >
      {LANGUAGES[other]}
    </button>
  );
}

const THEMES = ["system", "light", "dark"] as const;

function ThemeSwitch() {
  const { t } = useI18n();
  const [theme, setTheme] = useState(readTheme);
  useEffect(() => {
    applyTheme(theme);
  }, [theme]);
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? "system";
  return (
    <button
      type="button"
      className="button quiet"
      aria-label={t("layout.theme_is", { theme: t(`layout.theme_${theme}`) })}
      onClick={() => setTheme(next)}
    >
      <span aria-hidden="true">{theme === "dark" ? "☾" : theme === "light" ? "☀" : "◐"}</span>
    </button>
  );
}

function readTheme(): (typeof THEMES)[number] {
  try {
    return THEMES.find((theme) => theme === localStorage.getItem("josoor_theme")) ?? "system";
  } catch {
    return "system";
  }
}

export function applyTheme(theme: (typeof THEMES)[number] = readTheme()) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    if (theme === "system") localStorage.removeItem("josoor_theme");
    else localStorage.setItem("josoor_theme", theme);
  } catch {
    // Then it holds for this page.
  }
}

function UserMenu() {
  const { user, logout, hasRole } = useAuth();
  const { t } = useI18n();
  if (!user) return null;
  return (
    <>
      {hasRole("admin") && (
        <Link className="button quiet" href="/console">
          {t("console.title")}
        </Link>
      )}
      <Link className="button quiet" href="/account">
        <bdi>{user.full_name ?? user.email}</bdi>
      </Link>
      <button type="button" className="button quiet" onClick={() => void logout()}>
        {t("layout.sign_out")}
      </button>
    </>
  );
}

/** Says that the network or the service is away. Nothing that was typed is lost meanwhile, and the user stays signed in. */
function Connectivity() {
  const { connectivity } = useAuth();
  const { t } = useI18n();
  return (
    <div role="status">
      {connectivity !== "online" && (
        <p className="banner">{t(connectivity === "offline" ? "layout.offline" : "layout.unavailable")}</p>
      )}
    </div>
  );
}

/** Something is on its way. Shown only after a moment: a flash of it would disturb more than it tells. */
export function Loading({ unreachable = "online" }: { unreachable?: "online" | "offline" | "unavailable" }) {
  const { t } = useI18n();
  const { client } = useAuth();
  if (unreachable !== "online") {
    return (
      <div className="card">
        <h1>{t("offline.title")}</h1>
        <p>{t(unreachable === "offline" ? "offline.no_network" : "offline.no_service")}</p>
        <button type="button" className="button" onClick={() => void client.refresh().catch(() => {})}>
          {t("offline.retry")}
        </button>
      </div>
    );
  }
  return (
    <p className="loading" role="status">
      <span className="spinner" aria-hidden="true" /> {t("layout.loading")}
    </p>
  );
}

/** A message of one kind: done, note or bad. */
export function Notice({
  kind = "note",
  title,
  children,
}: {
  kind?: "done" | "note" | "bad";
  title?: string;
  children?: ReactNode;
}) {
  return (
    <div className={`notice ${kind}`} role={kind === "bad" ? "alert" : "status"}>
      {title && <h2>{title}</h2>}
      {children}
    </div>
  );
}

/** What stands in for a page once its work is done: gets the focus, so that it is read out. */
export function Done({ title, children }: { title: string; children?: ReactNode }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useTitle(title);
  useEffect(() => heading.current?.focus(), []);
  return (
    <div className="card">
      <h1 tabIndex={-1} ref={heading}>
        {title}
      </h1>
      {children}
    </div>
  );
}

/** Where mails are while no mail server is set up, on a developer's machine. */
export function MailHint({ isOn }: { isOn: boolean }) {
  const { t } = useI18n();
  return isOn ? (
    <p className="small">
      <a href={at("/dev/mail")} target="_blank" rel="noreferrer">
        {t("layout.dev_mail")}
      </a>
    </p>
  ) : null;
}
