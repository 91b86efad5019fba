import { defineConfig } from "tsdown";

export default defineConfig({
  entry: ["src/index.ts", "src/react.tsx", "src/axios.ts"],
  format: "esm",
  platform: "browser",
  target: "es2022",
  dts: true,
  minify: true,
  sourcemap: true,
  fixedExtension: false,
});
