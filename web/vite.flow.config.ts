import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/**
 * The scripts of the pages that the server renders, each as one file that it puts into the page: `flow` into every one, and, with
 * `--mode passkey`, `passkey` into those of the sign-in.
 */
export default defineConfig(({ mode }) => {
  const name = mode === "passkey" ? "passkey" : "flow";
  return {
    publicDir: false,
    build: {
      outDir: here("../crates/josoor-auth/assets/web"),
      emptyOutDir: false,
      target: "es2022",
      reportCompressedSize: false,
      lib: { entry: here(`src/${name}.ts`), formats: ["iife"], name, fileName: () => `${name}.js` },
    },
  };
});
