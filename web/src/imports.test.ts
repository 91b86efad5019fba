import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { preProcessFile } from "typescript";
import { describe, expect, it } from "vitest";

const ROOT = resolve(import.meta.dirname, "../..");
/** What the names of this workspace's packages stand for, as in `vite.config.ts`. */
const PACKAGES: Record<string, string> = {
  "@josoor/auth": join(ROOT, "packages/client/src/index.ts"),
  "@josoor/auth/react": join(ROOT, "packages/client/src/react.tsx"),
};

function sourcesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return sourcesBelow(path);
    return /\.tsx?$/.test(entry.name) && !/\.test\.tsx?$/.test(entry.name) ? [path] : [];
  });
}

/** The file that an import names; null for one of a dependency, or of something that is no program. */
function resolveImport(from: string, name: string): string | null {
  const packaged = PACKAGES[name];
  if (packaged) return packaged;
  if (!name.startsWith(".")) return null;
  const path = resolve(dirname(from), name);
  const candidates = [path, `${path}.ts`, `${path}.tsx`, join(path, "index.ts"), join(path, "index.tsx")];
  return candidates.find((one) => /\.tsx?$/.test(one) && existsSync(one) && statSync(one).isFile()) ?? null;
}

/** Every file with those that it imports: values, types, re-exports and `import()` alike. */
function importsOf(files: string[]): Map<string, string[]> {
  return new Map(
    files.map((file) => {
      const { importedFiles } = preProcessFile(readFileSync(file, "utf8"), true, true);
      const found = importedFiles.map(({ fileName }) => resolveImport(file, fileName));
      return [file, found.filter((one) => one !== null)];
    }),
  );
}

/** The first circle found, as a path that ends where it begins. */
function findCycle(graph: Map<string, string[]>): string[] | null {
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (file: string): string[] | null => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return null;
    path.push(file);
    for (const next of graph.get(file) ?? []) {
      const cycle = visit(next);
      if (cycle) return cycle;
    }
    path.pop();
    done.add(file);
    return null;
  };
  for (const file of graph.keys()) {
    const cycle = visit(file);
    if (cycle) return cycle;
  }
  return null;
}

describe("imports", () => {
  it("make no circle in web/src and packages/*/src", () => {
    const packages = readdirSync(join(ROOT, "packages")).map((name) => join(ROOT, "packages", name, "src"));
    const files = [join(ROOT, "web/src"), ...packages.filter((path) => existsSync(path))].flatMap(sourcesBelow);
    const graph = importsOf(files);
    expect([...graph.values()].flat().length).toBeGreaterThan(files.length);
    const cycle = findCycle(graph)?.map((file) => relative(ROOT, file));
    expect(cycle, "move what both need into a third file").toBeUndefined();
  });

  it("are seen in every form, so that a circle fails", () => {
    const forms = [
      'import { a } from "./b";',
      'import type { A } from "./b";',
      'export * from "./b";',
      'export { a } from "./b";',
      'const load = () => import("./b");',
    ];
    const folder = mkdtempSync(join(tmpdir(), "imports-"));
    try {
      mkdirSync(join(folder, "b"));
      writeFileSync(join(folder, "b/index.tsx"), 'import { c } from "../c";');
      writeFileSync(join(folder, "c.ts"), 'import { a } from "./a";');
      for (const form of forms) {
        writeFileSync(join(folder, "a.ts"), `${form}\nexport const a = 1;`);
        const cycle = findCycle(importsOf(sourcesBelow(folder)));
        expect(
          cycle?.map((file) => relative(folder, file)),
          form,
        ).toEqual(["a.ts", "b/index.tsx", "c.ts", "a.ts"]);
      }
      writeFileSync(join(folder, "a.ts"), "export const a = 1;");
      expect(findCycle(importsOf(sourcesBelow(folder)))).toBeNull();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
