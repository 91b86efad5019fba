import { describe, expect, it } from "vitest";
import { undoOf } from "./bulk-change";

const user = (id: number, role: "user" | "analyst" | "admin", is_active = true) => ({ id, role, is_active });

describe("the undoing of a change", () => {
  it("gives each user the role back that it had, in a request for each role", () => {
    expect(undoOf({ role: "admin" }, [user(1, "user"), user(2, "analyst"), user(3, "user")])).toEqual([
      { ids: [1, 3], change: { role: "user" } },
      { ids: [2], change: { role: "analyst" } },
    ]);
  });

  it("touches nothing that was not changed", () => {
    expect(undoOf({ is_active: false }, [user(1, "user"), user(2, "admin")])).toEqual([
      { ids: [1, 2], change: { is_active: true } },
    ]);
    expect(undoOf({ role: "user" }, [])).toEqual([]);
  });
});
