import {
  AtSign,
  CircleUser,
  History,
  KeyRound,
  Laptop,
  type LucideIcon,
  MonitorSmartphone,
  ShieldCheck,
  Trash2,
} from "lucide-react";
import type { ComponentType } from "react";
import { Link, Route, Switch, useLocation } from "wouter";
import { AppPage } from "../components/app-page";
import { ExpiryWarning } from "../components/expiry-warning";
import { Data } from "../components/queries";
import { StepUp } from "../components/step-up";
import { Toasts } from "../components/toast";
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

const SECTIONS: [path: string, title: TextKey, icon: LucideIcon, content: ComponentType][] = [
  ["/account", "account.profile", CircleUser, Profile],
  ["/account/password", "account.password", KeyRound, ChangePassword],
  ["/account/email", "account.email", AtSign, ChangeEmail],
  ["/account/two-step", "account.factors", ShieldCheck, Factors],
  ["/account/sessions", "account.sessions", MonitorSmartphone, Sessions],
  ["/account/devices", "account.devices", Laptop, Devices],
  ["/account/activity", "account.activity", History, Activity],
  ["/account/delete", "account.delete", Trash2, DeleteAccount],
];

export function Account() {
  const { t } = useI18n();
  const [location] = useLocation();
  return (
    <Data>
      <Toasts>
        <ExpiryWarning />
        <StepUp />
        <Switch>
          {SECTIONS.map(([path, title, , Content]) => (
            <Route key={path} path={path}>
              <AppPage title={title} width="wide">
                <div className="split">
                  <nav className="side" aria-label={t("account.title")}>
                    {SECTIONS.map(([to, name, Icon]) => (
                      <Link
                        key={to}
                        href={to}
                        aria-current={to === location ? "page" : undefined}
                        ref={to === location ? showInLine : undefined}
                      >
                        <Icon className="icon" />
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
      </Toasts>
    </Data>
  );
}

/** On a small screen the sections stand in one line, which scrolls. */
function showInLine(link: HTMLAnchorElement | null) {
  link?.scrollIntoView({ block: "nearest", inline: "center" });
}
