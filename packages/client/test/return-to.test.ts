// @vitest-environment jsdom
import { describe, expect, it } from "vitest";
import { hasRole, safeReturnTo } from "../src";

describe("safeReturnTo", () => {
  it.each(["/", "/account", "/a?b=c&d=%2F%2Fe#f", "/chat/١", "/a/../b"])("goes back to %s", (path) => {
    const safe = safeReturnTo(path, "/fallback");
    expect(new URL(safe, location.origin).origin).toBe(location.origin);
    expect(safe).not.toBe("/fallback");
  });

  it.each([
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "\t//evil.example",
    "https://evil.example",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,x",
    "evil.example",
    "",
    " //evil.example",
    "/.//evil.example",
    "/x/..//evil.example",
    "/a\\..\\..\\evil",
    "http:evil.example",
    "/\u0000/evil",
    null,
    undefined,
  ])("never goes to %j", (value) => {
    expect(safeReturnTo(value, "/fallback")).toBe("/fallback");
  });
});

describe("hasRole", () => {
  it("has the server's order", () => {
    const names = ["user", "analyst", "admin"] as const;
    const allowed = names.map((role) => names.filter((needed) => hasRole({ role }, needed)).length);
    expect(allowed).toEqual([1, 2, 3]);
    expect(hasRole(null, "user")).toBe(false);
  });
});
