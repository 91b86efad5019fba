import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { beforeAll, describe, expect, it } from "vitest";

const ROOT = resolve(import.meta.dirname, "..");
const run = (program: string, ...args: string[]) =>
  execFileSync("npx", ["--no-install", program, ...args], {
    cwd: ROOT,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });

describe("the package", () => {
  beforeAll(() => run("tsdown"), 60_000);

  it("has the types of the service's own document", () => {
    const fresh = run("openapi-typescript", "../../docs/openapi.json");
    expect(
      readFileSync(resolve(ROOT, "src/api.d.ts"), "utf8") === fresh,
      "stale: npm run generate --workspace packages/client",
    ).toBe(true);
  }, 60_000);

  it("is at most 6 KB in its core", () => {
    const files = new Set(["index.js"]);
    for (const file of files) {
      for (const [, name] of readFileSync(resolve(ROOT, "dist", file), "utf8").matchAll(/from"\.\/([^"]+)"/g))
        files.add(name as string);
    }
    const size = [...files].reduce(
      (sum, file) => sum + gzipSync(readFileSync(resolve(ROOT, "dist", file)), { level: 9 }).length,
      0,
    );
    expect(size).toBeGreaterThan(1000);
    expect(size).toBeLessThanOrEqual(6 * 1024);
  });

  it("has no dependency, runs nothing when it is installed, and puts types first", () => {
    const manifest = JSON.parse(readFileSync(resolve(ROOT, "package.json"), "utf8"));
    expect(manifest.dependencies).toBeUndefined();
    expect(Object.keys(manifest.scripts).filter((name) => /install/.test(name))).toEqual([]);
    for (const target of Object.values(manifest.exports))
      if (typeof target === "object") expect(Object.keys(target as object)[0]).toBe("types");
  });

  it("satisfies publint and attw", () => {
    run("publint", "--strict");
    run("attw", "--pack", ".", "--profile", "esm-only");
  }, 120_000);
});
