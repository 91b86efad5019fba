import { describe, expect, it } from "vitest";
import { make } from "../i18n";
import { ar } from "../i18n/ar";
import { more as arMore } from "../i18n/ar.more";
import { en } from "../i18n/en";
import { more as enMore } from "../i18n/en.more";
import { episodesOf, isInQuestion, type Row, sentenceOf } from "./episodes";

const english = make("en", { ...en, ...enMore }, () => {});
const arabic = make("ar", { ...ar, ...arMore } as never, () => {});
const plain = (text: string) => text.replace(/[\u2066-\u2069]/g, "");

let next = 1000;
/** A row at a time of 24 November 2026, in UTC. */
function row(time: string, change: Partial<Row>): Row {
  next -= 1;
  return {
    id: next,
    at: `2026-11-24T${time}:00Z`,
    action: "sign_in",
    outcome: "success",
    reason: null,
    by_other: false,
    session_id: null,
    current: false,
    ip: "192.0.2.1",
    user_agent: "",
    device: "Firefox on Linux",
    sealed: true,
    ...change,
  };
}
const wrong = (time: string, device = "Firefox on Linux") =>
  row(time, { outcome: "failure", reason: "invalid_credentials", device });

const sentences = (rows: Row[], i18n = english) => episodesOf(rows).map((episode) => plain(sentenceOf(episode, i18n)));

describe("the story of an account", () => {
  it("puts wrong passwords together, and tells the sign-in that followed", () => {
    const rows = [row("21:20", {}), wrong("21:16"), wrong("21:15"), wrong("21:14"), row("09:00", {})];
    const time = plain(english.time(rows[0]?.at ?? ""));
    expect(sentences(rows)).toEqual([
      `A wrong password 3 times from Firefox on Linux. You signed in at ${time}.`,
      "You signed in from Firefox on Linux.",
    ]);
    expect(sentences(rows, arabic)[0]).toBe(
      `كلمة مرور خاطئة 3 مرات من Firefox على Linux. ثم سجّلت الدخول الساعة ${time}.`,
    );
    expect(sentences(rows.slice(1, 3), arabic)).toEqual(["كلمة مرور خاطئة مرتين من Firefox على Linux."]);
  });

  it("keeps apart what came from another device, and what came much later", () => {
    expect(
      sentences([wrong("12:00"), wrong("11:59", "Chrome on Windows"), wrong("10:00", "Chrome on Windows")]),
    ).toEqual([
      "A wrong password from Firefox on Linux.",
      "A wrong password from Chrome on Windows.",
      "A wrong password from Chrome on Windows.",
    ]);
    const later = [row("15:00", {}), wrong("12:00")];
    expect(sentences(later)).toHaveLength(2);
    const elsewhere = [row("12:05", { device: "Safari on iOS" }), wrong("12:00")];
    expect(sentences(elsewhere)[0]).toMatch(
      /^A wrong password from Firefox on Linux\. A sign-in from Safari on iOS followed/,
    );
  });

  it("counts sessions that one change has ended", () => {
    const ended = { action: "session_revoke", reason: "password_changed" };
    expect(sentences([row("12:00", { action: "password_change" }), row("12:00", ended), row("12:00", ended)])).toEqual([
      "You changed your password.",
      "2 sessions ended: password changed.",
    ]);
  });

  it("names every action and reason that it has no sentence for", () => {
    expect(sentences([row("12:00", { action: "something_new", reason: "why" })])).toEqual(["something_new: why"]);
    expect(sentences([row("12:00", { action: "role_change", by_other: true, reason: "admin", device: null })])).toEqual(
      ["Role changed · now: administrator"],
    );
    for (const device of ["", "Unknown device"]) {
      expect(sentences([row("12:00", { device })])).toEqual(["You signed in from Unknown device."]);
      expect(sentences([row("12:00", { device })], arabic)).toEqual(["سجّلت الدخول من جهاز غير معروف."]);
    }
    expect(sentences([row("12:00", { action: "activity_report", id: 4711 })])[0]).toContain("Receipt 4711.");
  });

  it("asks about what an intruder would do, and not about what administrators did", () => {
    const asked = (change: Partial<Row>) => isInQuestion({ rows: [row("12:00", change)] });
    expect(isInQuestion({ rows: [wrong("12:00")] })).toBe(true);
    for (const action of ["new_device", "password_reset_request", "email_change_request", "refresh_reuse"])
      expect(asked({ action }), action).toBe(true);
    for (const action of ["sign_in", "export", "activity_confirm", "activity_report", "session_revoke"])
      expect(asked({ action }), action).toBe(false);
    expect(asked({ action: "password_reset_request", by_other: true })).toBe(false);
    expect(asked({ action: "password_change", current: true })).toBe(false);
  });
});
