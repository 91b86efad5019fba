import { useAuth } from "@josoor/auth/react";
import { type ReactNode, useEffect, useRef } from "react";
import { Link, useLocation } from "wouter";
import { config } from "../config";
import { LANGUAGES, type Language, type TextKey, useI18n } from "../i18n";
import { ProductLinks, Wordmark } from "./product";

/** The frame of every page: the service's name, and whether it can be reached. */
export function Page({
  title,
  width,
  nav,
  tools = <LanguageSwitch />,
  actions,
  children,
}: {
  title?: TextKey | undefined;
  /** Class names of a page that is wider than a form. */
  width?: "wide" | "wide console";
  nav?: ReactNode;
  /** What stands at the end of the bar. */
  tools?: ReactNode;
  /** What can be done on the page, beside its title. */
  actions?: ReactNode;
  children: ReactNode;
}) {
  const { t } = useI18n();
  useTitle(title ? t(title) : undefined);
  const heading = title && <h1>{t(title)}</h1>;
  return (
    <>
      <a className="skip" href="#main">
        {t("layout.skip")}
      </a>
      <header className="top">
        <Link href="/account" className="brand">
          <Wordmark />
        </Link>
        {nav}
        <div className="tools">{tools}</div>
      </header>
      <Connectivity />
      <main id="main" className={width} tabIndex={-1}>
        {actions ? (
          <div className="heading">
            {heading}
            <div className="actions">{actions}</div>
          </div>
        ) : (
          heading
        )}
        {children}
      </main>
      <ProductLinks />
    </>
  );
}

/** Sets the title and, on the way from one page to the next, moves the focus to where the new one begins. */
export function useTitle(title: string | undefined) {
  const isFirst = useRef(true);
  const [location] = useLocation();
  const { language } = useI18n();
  const name = config.branding.name[language];
  useEffect(() => {
    if (title) document.title = `${title} · ${name}`;
  }, [title, name]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: at every change of place
  useEffect(() => {
    if (isFirst.current) isFirst.current = false;
    else document.getElementById("main")?.focus({ preventScroll: true });
  }, [location]);
}

/** Changes to the other language, each called by its own name. */
export function LanguageSwitch({
  className = "button quiet",
  hint,
  children,
}: {
  className?: string;
  /** What else is in the language. */
  hint?: string;
  children?: ReactNode;
}) {
  const { language, setLanguage } = useI18n();
  const { status, client } = useAuth();
  const other: Language = language === "en" ? "ar" : "en";
  return (
    <button
      type="button"
      className={className}
      lang={other}
      onClick={() => {
        setLanguage(other);
        // It is the user's own choice now, for mails as well. If it does not get there, the page is in it anyway.
        if (status === "signed-in") void client.updateMe({ locale: other }).catch(() => {});
      }}
    >
      {children}
      {hint ? (
        <span>
          {LANGUAGES[other]}
          <span className="small hint-line" lang={language}>
            {hint}
          </span>
        </span>
      ) : (
        LANGUAGES[other]
      )}
    </button>
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
