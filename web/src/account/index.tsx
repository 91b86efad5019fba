import type { ComponentType } from "react";
import { Link, Route, Switch, useLocation } from "wouter";
import { AppPage } from "../components/app-page";
import { ExpiryWarning } from "../components/expiry-warning";
import { Data } from "../components/queries";
import { StepUp } from "../components/step-up";
import { type TextKey, useI18n } from "../i18n";
import { NotFound } from "../pages/refusals";
import { Activity } from "./activity";
import { DeleteAccount } from "./delete";
import { Devices } from "./devices";
import { ChangeEmail } from "./email";
import { Factors } from "./factors";
import { ChangePassword } from "./password";
import { Profile } from "./profile";
import { Sessions } from "./sessions";
import "../later.css";

const SECTIONS: [path: string, title: TextKey, content: ComponentType][] = [
  ["/account", "account.profile", Profile],
  ["/account/password", "account.password", ChangePassword],
  ["/account/email", "account.email", ChangeEmail],
  ["/account/two-step", "account.factors", Factors],
  ["/account/sessions", "account.sessions", Sessions],
  ["/account/devices", "account.devices", Devices],
  ["/account/activity", "account.activity", Activity],
  ["/account/delete", "account.delete", DeleteAccount],
];

export function Account() {
  const { t } = useI18n();
  const [location] = useLocation();
  return (
    <Data>
      <ExpiryWarning />
      <StepUp />
      <Switch>
        {SECTIONS.map(([path, title, Content]) => (
          <Route key={path} path={path}>
            <AppPage title={title} width="wide">
              <div className="split">
                <nav className="side" aria-label={t("account.title")}>
                  {SECTIONS.map(([to, name]) => (
                    <Link
                      key={to}
                      href={to}
                      aria-current={to === location ? "page" : undefined}
                      ref={to === location ? showInLine : undefined}
                    >
                      {t(name)}
                    </Link>
                  ))}
                </nav>
                <div>
                  <Content />
                </div>
              </div>
            </AppPage>
          </Route>
        ))}
        <Route component={NotFound} />
      </Switch>
    </Data>
  );
}

/** On a small screen the sections stand in one line, which scrolls. */
function showInLine(link: HTMLAnchorElement | null) {
  link?.scrollIntoView({ block: "nearest", inline: "center" });
}
