import { describe, expect, it } from "vitest";

import { differences, merged, type Side } from "./conflict";
import type { Segment } from "@/features/labels/core/timeline";

function segments(...rows: [number, number, string][]): Segment[] {
  return rows.map(([start, end, text]) => ({ start, end, text, provenance: "human" }));
}

function plain(rows: readonly Segment[]) {
  return rows.map(({ start, end, text }) => [start, end, text]);
}

const MINE = segments([0, 60, "reach"], [60, 90, "grasp"], [90, 150, "lift"]);
const THEIRS = segments([0, 62, "reach"], [62, 90, "grasp"], [90, 120, "carry"], [120, 150, "lift"]);

describe("a conflict", () => {
  it("is told by the steps that have another text", () => {
    expect(differences(MINE, THEIRS)).toEqual([
      { start: 60, end: 62, mine: "grasp", theirs: "reach" },
      { start: 90, end: 120, mine: "lift", theirs: "carry" },
    ]);
    expect(differences(MINE, MINE)).toEqual([]);
  });

  it("is solved side by side: all of one, all of the other, or some of each", () => {
    expect(plain(merged(MINE, THEIRS, () => "mine"))).toEqual(plain(MINE));
    expect(plain(merged(MINE, THEIRS, () => "theirs"))).toEqual(plain(THEIRS));
    const some = (wanted: number): ((difference: { start: number }) => Side) => {
      return ({ start }) => (start === wanted ? "theirs" : "mine");
    };
    expect(plain(merged(MINE, THEIRS, some(60)))).toEqual([
      [0, 62, "reach"],
      [62, 90, "grasp"],
      [90, 150, "lift"],
    ]);
    expect(plain(merged(MINE, THEIRS, some(90)))).toEqual([
      [0, 60, "reach"],
      [60, 90, "grasp"],
      [90, 120, "carry"],
      [120, 150, "lift"],
    ]);
  });

  it("keeps boundaries between two substeps of one text", () => {
    const twice = segments([0, 50, "wipe"], [50, 100, "wipe"], [100, 150, "leave"]);
    const other = segments([0, 50, "wipe"], [50, 100, "wipe"], [100, 120, "look"], [120, 150, "leave"]);
    expect(plain(merged(twice, other, () => "theirs"))).toEqual(plain(other));
  });
});
