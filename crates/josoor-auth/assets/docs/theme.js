"use strict";

// Before the first paint. The choice is the one of the other pages, which keep it under this name.
(() => {
  const KEY = "josoor_theme";
  const root = document.documentElement;
  let kept = null;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => {
    try {
      return localStorage.getItem(KEY) ?? kept;
    } catch {
      return kept;
    }
  };
  const isDark = () => (chosen() ?? (system.matches ? "dark" : "light")) === "dark";
  const apply = () => {
    root.classList.toggle("dark-mode", isDark());
    // The pages' own style sheet follows this one.
    root.dataset.theme = isDark() ? "dark" : "light";
    const button = document.getElementById("theme");
    if (!button) return;
    button.hidden = false;
    button.textContent = isDark() ? button.dataset.light : button.dataset.dark;
  };
  apply();
  system.addEventListener("change", apply);
  addEventListener("DOMContentLoaded", () => {
    apply();
    document.getElementById("theme").addEventListener("click", () => {
      const next = isDark() ? "light" : "dark";
      try {
        localStorage.setItem(KEY, next);
      } catch {
        // Then it holds for this page.
        kept = next;
      }
      apply();
    });
  });
})();
