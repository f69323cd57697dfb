// @vitest-environment happy-dom
import { describe, expect, it } from "vitest";

import { jumpToCandidate, nearestCandidate } from "./candidates";
import { nearestOf } from "./nearest";
import { candidate, verdictsOf } from "./proposalApi";
import { accept, acceptAll, countProposed, fill, nextProposed, proposedAt, reject, stretched } from "./proposals";
import { search } from "./search";
import {
  blank,
  cutAndLabel,
  labelAt,
  moveBoundary,
  problemsOf,
  toSegments,
  type Timeline,
} from "@/features/labels/core/timeline";

const PROPOSALS = [
  { start: 0, end: 30, text: "reach", source: "copy", confidence: 0.9 },
  { start: 30, end: 80, text: "grasp", source: "copy", confidence: 0.5 },
  { start: 80, end: 100, text: "place", source: "copy" },
];
const plain = (timeline: Timeline) => toSegments(timeline).map(({ start, end, text }) => [start, end, text]);

describe("proposals", () => {
  it("lie only where nothing was written", () => {
    expect(plain(fill(blank(100), PROPOSALS))).toEqual([
      [0, 30, "reach"],
      [30, 80, "grasp"],
      [80, 100, "place"],
    ]);
    const begun = cutAndLabel(blank(100), 50, "mine");
    const filled = fill(begun, PROPOSALS);
    expect(plain(filled)).toEqual([
      [0, 50, "mine"],
      [50, 80, "grasp"],
      [80, 100, "place"],
    ]);
    // what was cut short is not what the machine was that sure of
    expect(filled.labels.map(({ confidence }) => confidence)).toEqual([undefined, undefined, undefined]);
    expect(plain(fill(blank(100), PROPOSALS.slice(1, 2)))).toEqual([
      [0, 30, ""],
      [30, 80, "grasp"],
      [80, 100, ""],
    ]);
    const full = labelAt(begun, 1, "mine too");
    expect(fill(full, PROPOSALS)).toBe(full);
  });

  it("are accepted, rejected and found", () => {
    const timeline = fill(blank(100), PROPOSALS);
    expect(countProposed(timeline)).toBe(3);
    expect(accept(timeline, 0).labels[0]).toMatchObject({ provenance: "machine_accepted", confidence: 0.9 });
    expect(reject(timeline, 1).labels[1]).toEqual({ text: "", provenance: "human" });
    expect(accept(accept(timeline, 0), 0).labels[0]?.provenance).toBe("machine_accepted");
    expect(nextProposed(accept(timeline, 2), 2)).toBe(0);
    expect(proposedAt(accept(timeline, 1), 40)).toBe(2);
    expect(nextProposed(acceptAll(timeline, 0), 0)).toBeNull();
    expect(acceptAll(timeline, 0.8).labels.map(({ provenance }) => provenance)).toEqual([
      "machine_accepted",
      "proposed",
      "proposed",
    ]);
  });

  it("that a person changed are edited ones, not accepted ones", () => {
    const timeline = fill(blank(100), PROPOSALS);
    const moved = moveBoundary(timeline, 1, 35);
    expect(moved.labels.map(({ provenance }) => provenance)).toEqual(["proposed", "proposed", "proposed"]);
    expect(accept(moved, 0).labels[0]?.provenance).toBe("machine_edited");
    expect(labelAt(timeline, 0, "reach out").labels[0]?.provenance).toBe("machine_edited");
  });

  it("keep labels from being published", () => {
    const found = problemsOf(fill(blank(100), PROPOSALS), ["reach", "grasp", "place"], 50);
    expect(found.filter(({ level }) => level === "error").map(({ segment }) => segment)).toEqual([0, 1, 2]);
  });

  it("come from an episode of another length", () => {
    const segments = [
      { start: 0, end: 50, text: "reach" },
      { start: 50, end: 60, text: "" },
      { start: 60, end: 100, text: "place" },
    ];
    expect(stretched(segments, 100, 300, { source: "copy" })).toEqual([
      { start: 0, end: 150, text: "reach", source: "copy" },
      { start: 180, end: 300, text: "place", source: "copy" },
    ]);
    const candidates = [{ step: 160, confidence: 1, source: "left gripper" }];
    expect(stretched(segments, 100, 300, { source: "copy", candidates, within: 12 })[0]?.end).toBe(160);
    for (const steps of [1, 2, 3]) {
      const short = stretched(segments, 100, steps, { source: "copy" });
      expect(short.every(({ start, end }) => start < end && end <= steps)).toBe(true);
    }
  });
});

describe("what becomes of proposals", () => {
  it("is told for each: taken as it was, changed, or not taken", () => {
    const made = { id: "s1", source: "similar" as const, mismatch: null, proposals: PROPOSALS };
    const kept = cutAndLabel(labelAt(moveBoundary(fill(blank(100), PROPOSALS), 2, 70), 2, "leave"), 100, "leave");
    expect(verdictsOf(made, toSegments(kept)).map(({ verdict }) => verdict)).toEqual([
      "accepted",
      "edited",
      "rejected",
    ]);
  });
});

describe("candidates of the server", () => {
  it("say what found them", () => {
    const parts = [
      { source: "gripper" as const, arm: "left", step: 10, confidence: 0.5 },
      { source: "mark" as const, arm: null, step: 11, confidence: 1 },
    ];
    expect(candidate({ step: 10, confidence: 0.9, parts })).toEqual({
      step: 10,
      confidence: 0.9,
      source: "left gripper, mark",
    });
  });
});

describe("the nearest episode", () => {
  const row = (number: number, more: object) =>
    ({ id: `e${number}`, number, task: "stack", segments: 3, label_state: "published", ...more }) as never;
  it("is of the same task, published and near", () => {
    const rows = [row(1, {}), row(4, { label_state: "draft" }), row(6, { task: "pour" }), row(7, { segments: 0 })];
    expect(nearestOf(rows, row(5, {}))?.number).toBe(1);
    expect(nearestOf(rows.slice(1), row(5, {}))?.number).toBe(4);
    expect(nearestOf(rows.slice(3), row(5, {}))).toBeNull();
    expect(nearestOf(rows, row(1, {}))?.number).toBe(4);
  });
});

describe("candidates", () => {
  const candidates = [10, 20, 24].map((step, index) => ({ step, confidence: 0.3 * index, source: "x" }));
  it("are found near a step and one after the other", () => {
    expect(nearestCandidate(candidates, 13, 5)?.step).toBe(10);
    expect(nearestCandidate(candidates, 22, 5)?.step).toBe(24); // as near, surer
    expect(nearestCandidate(candidates, 15, 4)).toBeNull();
    expect(jumpToCandidate(candidates, 10, 1)).toBe(20);
    expect(jumpToCandidate(candidates, 10, -1)).toBeNull();
    expect(jumpToCandidate([], 10, 1)).toBeNull();
  });
});

describe("search", () => {
  const texts = [
    "Reach for the red cube",
    "Grasp the red cube",
    "Lift the cube",
    "R\u00fchre um",
    "\u62ff\u8d77\u7ea2\u8272\u65b9\u5757",
  ];
  it("finds by beginnings, words, parts, letters and numbers, the best first", () => {
    expect(search(texts, "")).toEqual([0, 1, 2, 3, 4]);
    expect(search(texts, "gr")).toEqual([1]);
    expect(search(texts, "cube")).toEqual([0, 1, 2]);
    expect(search(texts, "lift c")).toEqual([2]);
    expect(search(texts, "ru")).toEqual([3, 0, 1]);
    expect(search(texts, "\u7ea2\u8272")).toEqual([4]);
    expect(search(texts, "3")).toEqual([2]);
    expect(search(texts, "zzz")).toEqual([]);
  });
});
