import { Link, Route, Switch, useLocation } from "wouter";
import { Data } from "../components/data";
import { ExpiryWarning } from "../components/expiry";
import { useI18n } from "../i18n";
import { NotFound } from "../pages/refusals";
import { AuditTrail } from "./audit";
import { Overview } from "./overview";
import { UserDetail } from "./user";
import { Users } from "./users";

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

export function Console() {
  return (
    <Data>
      <ExpiryWarning />
      <Switch>
        <Route path="/console" component={Overview} />
        <Route path="/console/users" component={Users} />
        <Route path="/console/users/:id">{({ id }) => <UserDetail key={id} id={id} />}</Route>
        <Route path="/console/audit" component={AuditTrail} />
        <Route component={NotFound} />
      </Switch>
    </Data>
  );
}
