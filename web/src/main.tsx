import { AuthProvider } from "@josoor/auth/react";
import { StrictMode, Suspense } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app";
import { auth } from "./auth";
import { applyTheme } from "./components/theme";
import { I18nProvider, texts } from "./i18n";
import "./styles.css";
import "./translation";

applyTheme();
const root = document.getElementById("root");
// The texts are being loaded beside this program already; with them here, the first thing shown is the page itself.
void texts(document.documentElement.lang === "ar" ? "ar" : "en").then(() => {
  if (!root) return;
  createRoot(root).render(
    <StrictMode>
      <Suspense>
        <I18nProvider>
          <AuthProvider client={auth}>
            <App />
          </AuthProvider>
        </I18nProvider>
      </Suspense>
    </StrictMode>,
  );
});
