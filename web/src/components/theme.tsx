import { useEffect, useState } from "react";
import { useI18n } from "../i18n";

const THEMES = ["system", "light", "dark"] as const;

export function ThemeSwitch() {
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
