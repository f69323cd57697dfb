import { expect, it } from "vitest";

import { addressOf, keepTrail, labelAddress, readTrail, stopAt, type Trail } from "./trail";

const TRAIL: Trail = {
  kind: "hits",
  dataset: "d",
  from: "/datasets/d/labels/find?text=lift",
  title: "lift",
  stops: [
    { episode: "a", number: 0, step: 12, tier: "substep", rater: 0 },
    { episode: "a", number: 0, step: 40, tier: "substep", rater: 1 },
    { episode: "b", number: 3, step: null, tier: "plan", rater: 0 },
  ],
};

function storage() {
  const kept = new Map<string, string>();
  return {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => kept.set(key, value),
  };
}

it("keeps a trail for the tab", () => {
  const tab = storage();
  expect(readTrail(tab)).toBeNull();
  keepTrail(TRAIL, tab);
  expect(readTrail(tab)).toEqual(TRAIL);
});

it.each(["", "7", '{"stops": 3}', "[1]", "{"])("takes no trail from %s", (text) => {
  expect(readTrail({ getItem: () => text })).toBeNull();
});

it("says where a stop is", () => {
  expect(addressOf(TRAIL, 0)).toBe("/episodes/a?trail=0");
  expect(addressOf(TRAIL, 1)).toBe("/episodes/a?rater=1&trail=1");
  expect(addressOf(TRAIL, 2)).toBe("/episodes/b?tier=plan&trail=2");
  expect(addressOf(TRAIL, 3)).toBeNull();
  expect(addressOf(TRAIL, -1)).toBeNull();
  expect(labelAddress("a")).toBe("/episodes/a");
  expect(labelAddress("a", { rater: 1 })).toBe("/episodes/a?rater=1");
});

it("knows a stop only if it is one of the episode", () => {
  expect(stopAt(TRAIL, "1", "a")).toBe(1);
  for (const asked of ["2", "3", "-1", "x", "", null]) expect(stopAt(TRAIL, asked, "a")).toBeNull();
  expect(stopAt(null, "0", "a")).toBeNull();
});
