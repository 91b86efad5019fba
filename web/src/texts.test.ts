import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import flowAr from "../../crates/josoor-auth/templates/pages/texts/flow.ar.json";
import flowEn from "../../crates/josoor-auth/templates/pages/texts/flow.en.json";
import document from "../../docs/openapi.json";
import { initialsOf } from "../../packages/client/src/react/initials";
import { suggestedEmail } from "./components/suggestion";
import { fill, latinDigits, make, type TextKey } from "./i18n";
import { ar } from "./i18n/ar";
import { more as arMore } from "./i18n/ar.more";
import { en } from "./i18n/en";
import { more as enMore } from "./i18n/en.more";
import type { Counted } from "./i18n/plural";

const english: Record<string, string | Counted> = { ...en, ...enMore };
const arabic: Record<string, string | Counted> = { ...ar, ...arMore };
/** With those of the pages that the server renders. */
const allEnglish: Record<string, string | Counted> = { ...english, ...flowEn };
const allArabic: Record<string, string | Counted> = { ...arabic, ...flowAr };
const FORMS = ["zero", "one", "two", "few", "many", "other"];
const SOURCES = resolve(import.meta.dirname);

function sources(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return sources(path);
    return /\.tsx?$/.test(entry.name) && !entry.name.includes(".test.") ? [path] : [];
  });
}

const code = sources(SOURCES)
  .filter((path) => !/i18n\/(en|ar)(\.more)?\.ts$/.test(path))
  .map((path) => readFileSync(path, "utf8"))
  .join("\n");

describe("texts", () => {
  it("exist in both languages, with the same values to fill in", () => {
    expect(Object.keys(allArabic).sort()).toEqual(Object.keys(allEnglish).sort());
    const holes = (text: string) =>
      [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name).filter((name) => name !== "count");
    for (const [key, text] of Object.entries(allEnglish)) {
      const other = allArabic[key] ?? "";
      const [one, two] = [text, other].map((value) => (typeof value === "string" ? value : value.other));
      expect(new Set(holes(two ?? "")), key).toEqual(new Set(holes(one ?? "")));
    }
  });

  it("have all six forms of Arabic where they count", () => {
    for (const [key, text] of Object.entries(allArabic)) {
      if (typeof text === "object") expect(Object.keys(text).sort(), key).toEqual([...FORMS].sort());
      else expect(text, key).toMatch(/\p{Script=Arabic}/u);
    }
  });

  it("count in Arabic as one speaks", () => {
    const { n, duration } = make("ar", arabic as never, () => {});
    const plain = (text: string) => text.replace(/[\u2068\u2069]/g, "");
    const users = [0, 1, 2, 3, 11, 100].map((count) => plain(n("users.count", count)));
    expect(users).toEqual(["لا يوجد مستخدمون", "مستخدم واحد", "مستخدمان", "3 مستخدمين", "11 مستخدمًا", "100 مستخدم"]);
    expect([1, 2, 5, 42].map((seconds) => plain(duration(seconds)))).toEqual([
      "ثانية واحدة",
      "ثانيتين",
      "5 ثوانٍ",
      "42 ثانية",
    ]);
  });

  it("are all used, and all that are used exist", () => {
    for (const [, key] of code.matchAll(/\b(?:t|n)\(\s*"([a-z_]+\.[a-z_]+)"/g))
      expect(english, key).toHaveProperty([key as TextKey]);
    // Keys that are put together from the service's names.
    const composed =
      /^(error|field|action|audit_reason|role|audit|story)\b|^mail\.|^outbox\.state_|^keys\.state_|^branding\.sample_|^menu\.theme_|^user_tab\.|^bulk\.(ask|do|already)_|^(sessions|devices)\.(lead|none|remove|confirm)/;
    const unused = Object.keys(english).filter((key) => !composed.test(key) && !code.includes(`"${key}"`));
    expect(unused).toEqual([]);
  });

  it("name every action of the audit trail", () => {
    const parameters = document.paths["/admin/audit"].get.parameters as {
      name: string;
      schema: { pattern?: string };
    }[];
    const pattern = parameters.find(({ name }) => name === "action")?.schema.pattern ?? "";
    const actions = pattern.replace(/^\^\(|\)\$$/g, "").split("|");
    expect(actions.length).toBeGreaterThan(10);
    // The console offers exactly these.
    const { entries } = make("en", english as never, () => {});
    expect(
      entries("action.")
        .map(([name]) => name)
        .sort(),
    ).toEqual([...actions].sort());
  });

  it("are short sentences: at most twelve words each", () => {
    const forms = (text: string | Counted) => (typeof text === "string" ? [text] : Object.values(text));
    for (const [key, text] of [...Object.entries(allEnglish), ...Object.entries(allArabic)]) {
      for (const sentence of forms(text).flatMap((form) => form.split(/[.!?؟:…]+(?:\s|$)/))) {
        const words = sentence.split(/\s+/).filter((word) => /\p{L}/u.test(word));
        expect(words.length, `${key}: ${sentence}`).toBeLessThanOrEqual(12);
      }
    }
  });

  it("call a thing by one word", () => {
    for (const [key, text] of Object.entries(allEnglish))
      expect(JSON.stringify(text), key).not.toMatch(/e-mail|\bverif(y|ied)\b|log ?in\b|log ?out\b/i);
    const ofAddresses = ["field.ip", "audit.ip", "error.origin_not_allowed", "not_found.lead"];
    for (const [key, text] of Object.entries(allArabic)) {
      // An administrator is مدير النظام, an email is بريد, and a password is never a word alone.
      expect(JSON.stringify(text), key).not.toMatch(/مسؤول|كلمة(?! (ال)?مرور)/);
      if (!ofAddresses.includes(key)) expect(JSON.stringify(text), key).not.toMatch(/عنوان/);
    }
  });

  it("isolate what is put into them", () => {
    expect(fill("to {email}!", { email: "a@b.c" })).toBe("to \u2068a@b.c\u2069!");
    expect(fill("{unknown}")).toBe("{unknown}");
  });
});

describe("inputs", () => {
  it("take the digits of either script", () => {
    expect(latinDigits("٠١٢٣٤٥٦٧٨٩ ۰۱۲۳۴۵۶۷۸۹ 7")).toBe("0123456789 0123456789 7");
  });

  it("suggest an address only where one letter is off", () => {
    expect(suggestedEmail("a@gmial.com")).toBe("a@gmail.com");
    expect(suggestedEmail("Ab@gmai.com")).toBe("Ab@gmail.com");
    expect(suggestedEmail("a@gmaill.com")).toBe("a@gmail.com");
    for (const email of ["a@gmail.com", "a@example.com", "a@mail.com", "a", "", "a@"])
      expect(suggestedEmail(email), email).toBeNull();
  });
});

describe("initials", () => {
  it.each([
    ["Huda Al-Salem", "h@example.com", "HS"],
    ["Omar", "o@example.com", "O"],
    ["عبدالرحمن بن عبدالعزيز الغامدي", "a@example.com", "ع\u2009غ"],
    ["نورة", "n@example.com", "ن"],
    ["Ludwig van Beethoven", "l@example.com", "LB"],
    ["Jean-Luc  Picard ", "j@example.com", "JP"],
    ["😀 ÉLISE", "e@example.com", "É"],
    ["سارة Smith", "s@example.com", "س\u2009S"],
    ["", "k.one@example.com", "K"],
    [null, "42@example.com", "E"],
    ["!!!", "9@٩.9", "?"],
  ])("of %s are those of its first and last word", (name, email, initials) => {
    expect(initialsOf(name, email)).toBe(initials);
  });
});

describe("the style sheets", () => {
  const sheets = ["styles.css", "later.css"].map((file) =>
    readFileSync(join(SOURCES, file), "utf8").replace(/\/\*[\s\S]*?\*\//g, ""),
  );

  it("take colour, space, type and radius from the tokens alone", () => {
    const css = sheets.join("");
    expect(css.match(/#[0-9a-f]{3,8}\b|\b(rgb|hsl|oklch)a?\(|light-dark\(/gi) ?? []).toEqual([]);
    const own = [...css.matchAll(/(?:^|[;{])\s*(margin|padding|gap|font-size|border-radius)(-[a-z-]+)?:([^;}]+)/g)]
      .filter(([, , , value = ""]) => /\d(rem|px)\b/.test(value.replace(/-?1px|3px/g, "")))
      .map(([text]) => text.trim());
    // Sizes of the page itself, not of the space between things.
    expect(own.filter((text) => !/15vh|7vh|6rem/.test(text))).toEqual([]);
    const tokens = ["tokens.css", "tokens.later.css"].map((file) => readFileSync(join(SOURCES, file), "utf8")).join("");
    const known = new Set([...tokens.matchAll(/(--[a-z0-9-]+):/g)].map(([, name]) => name));
    const used = new Set([...css.matchAll(/var\((--[a-z0-9-]+)/g)].map(([, name]) => name));
    expect([...used].filter((name) => !known.has(name))).toEqual([]);
  });

  it("have no side that is fixed to left or right", () => {
    const css = sheets.join("");
    const fixed =
      css.match(
        /\b(left|right|margin-(left|right|top|bottom)|padding-(left|right|top|bottom)|border-(left|right)|(?<!-)width|(?<!-)height)\s*:/g,
      ) ?? [];
    expect(fixed.filter((property) => !/^(width|height)/.test(property))).toEqual([]);
    expect(css).not.toMatch(/text-align:\s*(left|right)|float:/);
  });
});
