import { Show, useAuth } from "@josoor/auth/react";
import { type ReactNode, useEffect, useRef } from "react";
import { Link, useLocation } from "wouter";
import { at } from "../config";
import { LANGUAGES, type Language, type TextKey, useI18n } from "../i18n";
import { ThemeSwitch } from "./theme";

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
