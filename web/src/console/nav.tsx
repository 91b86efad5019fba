import { Link, useLocation } from "wouter";
import { useI18n } from "../i18n";

const SECTIONS = [
  ["/console", "console.overview"],
  ["/console/users", "console.users"],
  ["/console/audit", "console.audit"],
] as const;

/** The navigation of the console's pages. */
export function ConsoleNav() {
  const { t } = useI18n();
  const [location] = useLocation();
  const isAt = (path: string) => (path === "/console" ? location === path : location.startsWith(path));
  return (
    <nav className="tabs" aria-label={t("console.title")}>
      {SECTIONS.map(([path, title]) => (
        <Link key={path} href={path} aria-current={isAt(path) ? "page" : undefined}>
          {t(title)}
        </Link>
      ))}
    </nav>
  );
}
