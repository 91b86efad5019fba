import { fileURLToPath } from "node:url";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vite";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/**
 * Writes one page per language, from which the server makes every page: it puts in the title, where the service is mounted and
 * what the pages have to know of the configuration and of the product. The language and its direction stand in the first byte, and the
 * language's texts are loaded beside the program instead of after it.
 */
function shells(): Plugin {
  return {
    name: "shells",
    apply: "build",
    // The style sheet is in the bundle only after Vite's own steps.
    enforce: "post",
    generateBundle(_, bundle) {
      const chunks = Object.values(bundle).filter((file) => file.type === "chunk");
      const entry = chunks.find((chunk) => chunk.isEntry);
      if (!entry) this.error("there is no entry");
      // What only later pages need comes with them.
      const styles = Object.values(bundle).filter((file) => /^assets\/style-.*\.css$/.test(file.fileName));
      for (const [language, direction] of [
        ["en", "ltr"],
        ["ar", "rtl"],
      ] as const) {
        const texts = chunks.find((chunk) => chunk.facadeModuleId?.endsWith(`/i18n/${language}.ts`));
        if (!texts) this.error(`there are no texts for ${language}`);
        const preload = [texts.fileName, ...entry.imports]
          .map((name) => `<link rel="modulepreload" href="{{base}}/${name}">\n`)
          .join("");
        const sheets = styles.map((file) => `<link rel="stylesheet" href="{{base}}/${file.fileName}">\n`).join("");
        const [noscript, signOut, late] =
          language === "ar"
            ? [
                "تحتاج هذه الصفحة إلى JavaScript. فعّلها في متصفحك ثم أعد تحميل الصفحة.",
                "تسجيل الخروج",
                "تعذّر تحميل الصفحة. تحقق من اتصالك ثم أعد تحميلها.",
              ]
            : [
                "This page needs JavaScript. Switch it on in your browser and load the page again.",
                "Sign out",
                "This page could not be loaded. Check your connection and load it again.",
              ];
        this.emitFile({
          type: "asset",
          fileName: `shell.${language}.html`,
          source: `<!doctype html>
<html lang="${language}" dir="${direction}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<meta name="josoor-config" content="{{config}}">
<title>{{title}}</title>
{{icon}}
${sheets}{{branding}}
${preload}<script type="module" src="{{base}}/${entry.fileName}"></script>
</head>
<body>
<div id="root"><p class="noscript late">${late}</p></div>
<noscript><p class="noscript">${noscript} <a href="{{base}}/sign-out">${signOut}</a></p></noscript>
</body>
</html>
`,
        });
      }
    },
  };
}

export default defineConfig(({ mode }) => ({
  // Relative, so that the same files work wherever the service is mounted.
  base: "./",
  plugins: [react(), shells()],
  resolve: {
    alias: {
      "@josoor/auth/react": here("../packages/client/src/react.tsx"),
      "@josoor/auth": here("../packages/client/src/index.ts"),
    },
  },
  build: {
    outDir: here("../crates/josoor-auth/assets/web"),
    emptyOutDir: true,
    minify: mode !== "development",
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    rolldownOptions: {
      input: here("src/main.tsx"),
      output: {
        entryFileNames: "assets/[name]-[hash].js",
        chunkFileNames: "assets/[name]-[hash].js",
        // The first style sheet by name is the one of every page, also of those that the server writes by itself.
        assetFileNames: ({ names: [name = ""] }) =>
          `assets/${name === "main.css" ? "style" : name.endsWith(".css") ? "styles-later" : "[name]"}-[hash][extname]`,
      },
    },
  },
  test: { environment: "jsdom", include: ["src/**/*.test.{ts,tsx}"] },
}));
