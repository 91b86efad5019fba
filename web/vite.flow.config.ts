import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** The script of the pages that the server renders, as one file that it puts into each of them. */
export default defineConfig({
  publicDir: false,
  build: {
    outDir: here("../crates/josoor-auth/assets/web"),
    emptyOutDir: false,
    target: "es2022",
    reportCompressedSize: false,
    lib: { entry: here("src/flow.ts"), formats: ["iife"], name: "flow", fileName: () => "flow.js" },
  },
});
