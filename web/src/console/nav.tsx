import { LayoutDashboard, Mails, ScrollText, SlidersHorizontal, UsersRound } from "lucide-react";
import { Link, useLocation } from "wouter";
import { useI18n } from "../i18n";

const SECTIONS = [
  ["/console", "console.overview", LayoutDashboard],
  ["/console/users", "console.users", UsersRound],
  ["/console/audit", "console.audit", ScrollText],
  ["/console/outbox", "console.outbox", Mails],
  ["/console/service", "console.service", SlidersHorizontal],
] as const;

/** The navigation of the console's pages. */
export function ConsoleNav() {
  const { t } = useI18n();
  const [location] = useLocation();
  const isAt = (path: string) => (path === "/console" ? location === path : location.startsWith(path));
  return (
    <nav className="tabs" aria-label={t("console.title")}>
      {SECTIONS.map(([path, title, Icon]) => (
        <Link key={path} href={path} aria-current={isAt(path) ? "page" : undefined}>
          <Icon className="icon" />
          {t(title)}
        </Link>
      ))}
    </nav>
  );
}
