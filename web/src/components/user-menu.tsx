import { useAuth } from "@josoor/auth/react";
import { CircleUser, Languages, LayoutDashboard, LogOut, Monitor, Moon, Sun } from "lucide-react";
import { useRef, useState } from "react";
import { Link } from "wouter";
import { useI18n } from "../i18n";
import { Avatar } from "./avatar";
import { LanguageSwitch } from "./page";
import "../pages/signed-out";
import { applyTheme, readTheme, THEMES } from "./theme";

const ICONS = { system: Monitor, light: Sun, dark: Moon };

/** Everything about the signed-in user in one menu; for visitors the language. The browser opens it, closes it and moves the focus. */
export function UserMenu() {
  const { user, logout, hasRole } = useAuth();
  const { t } = useI18n();
  const menu = useRef<HTMLDivElement>(null);
  const [theme, setTheme] = useState(readTheme);
  if (!user) return <LanguageSwitch />;
  const close = () => menu.current?.hidePopover?.();
  return (
    <>
      <button
        type="button"
        className="menu-button"
        popoverTarget="user-menu"
        aria-label={t("menu.of", { name: user.full_name ?? user.email })}
      >
        <Avatar user={user} />
      </button>
      <div id="user-menu" className="menu" popover="auto" ref={menu}>
        <p>
          <bdi>{user.full_name ?? user.email}</bdi>
          {user.full_name && (
            <bdi className="small" dir="ltr">
              {user.email}
            </bdi>
          )}
        </p>
        <hr />
        <Link className="menu-item" href="/account" onClick={close}>
          <CircleUser className="icon" />
          {t("account.title")}
        </Link>
        {hasRole("admin") && (
          <Link className="menu-item" href="/console" onClick={close}>
            <LayoutDashboard className="icon" />
            {t("console.title")}
          </Link>
        )}
        <LanguageSwitch className="menu-item" hint={t("profile.language_hint")}>
          <Languages className="icon" />
        </LanguageSwitch>
        <div role="group" className="choices" aria-label={t("menu.theme")}>
          {THEMES.map((choice) => {
            const Icon = ICONS[choice];
            return (
              <button
                key={choice}
                type="button"
                className="button quiet"
                aria-pressed={choice === theme}
                onClick={() => {
                  applyTheme(choice);
                  setTheme(choice);
                }}
              >
                <Icon className="icon" />
                {t(`menu.theme_${choice}`)}
              </button>
            );
          })}
        </div>
        <hr />
        <button type="button" className="menu-item" onClick={() => void logout()}>
          <LogOut className="icon along" />
          {t("layout.sign_out")}
        </button>
      </div>
    </>
  );
}
