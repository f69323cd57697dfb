// @vitest-environment happy-dom
import { describe, expect, it } from "vitest";

import { isOdd, strayText } from "./StorageNotice";

const WELL = {
  free_bytes: 1e12,
  disk: "ok",
  strays: [],
  missing: [],
  missing_count: 0,
  forgotten: null,
  busy: false,
  note: null,
};

describe("the notice about the data folder", () => {
  it("is silent where all is well", () => expect(isOdd(WELL)).toBe(false));

  it("speaks of each oddity alone", () => {
    const stray = { kind: "episode", count: 1, size_bytes: 1, names: ["a"], adoptable: true };
    for (const odd of [{ disk: "full" }, { strays: [stray] }, { missing_count: 1 }, { forgotten: "rows" }])
      expect(isOdd({ ...WELL, ...odd })).toBe(true);
  });

  it("counts what it does not name", () => {
    const text = strayText({ kind: "episode", count: 7, size_bytes: 2_000_000, names: ["a", "b"], adoptable: true });
    expect(text).toContain("7 episodes");
    expect(text).toContain("a, b and 5 more");
  });
});
