import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

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

  it("is at most 7 KB in its core", () => {
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
    expect(size).toBeLessThanOrEqual(7 * 1024);
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

describe("d24: the packed archive", () => {
  const folder = mkdtempSync(join(tmpdir(), "josoor-auth-package-"));
  let archive = "";
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** A fresh project in a folder of its own, with the archive installed and nothing else asked of a registry. */
  function createProject(
    name: string,
    type: "module" | "commonjs",
    files: Record<string, string>,
    linked: string[] = [],
  ) {
    const project = join(folder, name);
    mkdirSync(project);
    writeFileSync(join(project, "package.json"), JSON.stringify({ name, private: true, type }));
    const execute = (program: string, ...args: string[]) =>
      execFileSync(program, args, {
        cwd: project,
        encoding: "utf8",
        stdio: ["ignore", "pipe", "pipe"],
        timeout: 60_000,
      });
    execute("npm", "install", "--offline", "--no-audit", "--no-fund", "--ignore-scripts", archive);
    for (const link of linked) {
      mkdirSync(dirname(join(project, "node_modules", link)), { recursive: true });
      symlinkSync(resolve(ROOT, "../../node_modules", link), join(project, "node_modules", link));
    }
    for (const [file, text] of Object.entries(files)) writeFileSync(join(project, file), text);
    return { project, execute };
  }

  beforeAll(() => {
    // As it is published: `prepack` builds it.
    const output = execFileSync("npm", ["pack", "--json", "--pack-destination", folder], {
      cwd: ROOT,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    // What the build says comes first, in colours where it likes.
    const packed = JSON.parse(output.slice(output.search(/^\[$/m))) as {
      filename: string;
      files: { path: string }[];
    }[];
    archive = join(folder, packed[0]?.filename ?? "");
    const files = packed[0]?.files.map(({ path }) => path) ?? [];
    const needed = ["LICENSE", "README.md", "package.json", "index", "react", "axios"].flatMap((name) =>
      /^[a-z]+$/.test(name) ? [`dist/${name}.js`, `dist/${name}.d.ts`] : [name],
    );
    expect(files).toEqual(expect.arrayContaining(needed));
    expect(readFileSync(join(ROOT, "LICENSE"), "utf8")).toBe(readFileSync(resolve(ROOT, "../../LICENSE"), "utf8"));
  }, 120_000);

  it("runs in Node.js, imported and required, and lets the process end while the service is away", () => {
    const use = `
      const client = createAuthClient({ baseUrl: "http://127.0.0.1:9", storage: "memory" });
      client.onAuthStateChange(() => {});
      client.login({ email: "a@example.com", password: "b" }).catch((error) => {
        console.log(error.code, client.state.connectivity);
      });`;
    const { execute } = createProject("node", "module", {
      "main.mjs": `import { createAuthClient } from "@josoor/auth";${use}`,
      "main.cjs": `const { createAuthClient } = require("@josoor/auth");${use}`,
    });
    for (const file of ["main.mjs", "main.cjs"])
      expect(execute("node", "--no-warnings", file)).toBe("server_unavailable unavailable\n");
  }, 120_000);

  const page = `import { createAuthClient, type User } from "@josoor/auth";
    import { AuthProvider, ProtectedRoute, useUser } from "@josoor/auth/react";
    export const client = createAuthClient({ baseUrl: "https://auth.example.org" });
    const Name = () => { const user: User | null = useUser(); return <p>{user?.email}</p>; };
    export const App = () => (
      <AuthProvider client={client}><ProtectedRoute loading={<p>…</p>}><Name /></ProtectedRoute></AuthProvider>
    );`;
  const react = ["react", "react-dom", "@types/react", "@types/react-dom", "csstype", "scheduler"];

  it("has types for every resolution that knows `exports`", () => {
    const { execute } = createProject("types", "module", { "app.tsx": page }, react);
    const compiler = resolve(ROOT, "../../node_modules/typescript/bin/tsc");
    for (const [module, resolution] of [
      ["esnext", "bundler"],
      ["node16", "node16"],
      ["nodenext", "nodenext"],
    ] as const)
      execute(
        "node",
        compiler,
        ...["--noEmit", "--strict", "--jsx", "react-jsx", "--lib", "es2022,dom", "--types", "react"],
        ...["--module", module, "--moduleResolution", resolution, "app.tsx"],
      );
  }, 120_000);

  it("is bundled by Vite, with React", () => {
    const { project, execute } = createProject(
      "vite",
      "module",
      {
        "index.html": '<div id="root"></div><script type="module" src="/main.tsx"></script>',
        "main.tsx": `import { createRoot } from "react-dom/client"; import { App } from "./app"; createRoot(document.body).render(<App />);`,
        "app.tsx": page,
      },
      react,
    );
    execute("node", resolve(ROOT, "../../node_modules/vite/bin/vite.js"), "build", "--logLevel", "warn");
    const built = readdirSync(join(project, "dist/assets")).filter((name) => name.endsWith(".js"));
    expect(built.map((name) => readFileSync(join(project, "dist/assets", name), "utf8")).join()).toContain(
      "/auth/refresh",
    );
  }, 120_000);

  it("marks what needs a browser's React for server components", () => {
    expect(readFileSync(join(ROOT, "dist/react.js"), "utf8")).toMatch(/^"use client";/);
  });
});
