export const THEMES = ["system", "light", "dark"] as const;
export type Theme = (typeof THEMES)[number];

export function readTheme(): Theme {
  try {
    return THEMES.find((theme) => theme === localStorage.getItem("josoor_theme")) ?? "system";
  } catch {
    return "system";
  }
}

export function applyTheme(theme = readTheme()) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    if (theme === "system") localStorage.removeItem("josoor_theme");
    else localStorage.setItem("josoor_theme", theme);
  } catch {
    // Then it holds for this page.
  }
}
