import { describe, expect, it } from "vitest";

import { begin, close, push, redo, undo } from "./history";
import {
  blank,
  cut,
  cutAndLabel,
  fromSegments,
  jump,
  labelAt,
  labelledShare,
  merge,
  moveBoundary,
  nearestBoundary,
  nudge,
  problemsOf,
  removeBoundary,
  segmentAt,
  tidy,
  toSegments,
  type Timeline,
} from "./timeline";

/** Small seeded generator (mulberry32): a failing sequence can be run again. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

function expectValid(timeline: Timeline, steps: number): void {
  const { boundaries, labels } = timeline;
  expect(timeline.steps).toBe(steps);
  expect(boundaries[0]).toBe(0);
  expect(boundaries.at(-1)).toBe(steps);
  expect(boundaries.length).toBe(labels.length + 1);
  expect(boundaries.every((each, index) => index === 0 || each > boundaries[index - 1]!)).toBe(true);
  expect(boundaries.every(Number.isInteger)).toBe(true);
}

const WORDS = ["", "reach", "grasp the cube", "hand over", "  place   it "];

function randomChange(timeline: Timeline, random: (below: number) => number): Timeline {
  const step = random(timeline.steps + 4) - 2;
  const index = random(timeline.labels.length + 2) - 1;
  const text = WORDS[random(WORDS.length)]!;
  const changes = [
    () => cut(timeline, step),
    () => cutAndLabel(timeline, step, text),
    () => labelAt(timeline, index, text),
    () => merge(timeline, index),
    () => moveBoundary(timeline, index, step),
    () => removeBoundary(timeline, index),
    () => nudge(timeline, index, random(7) - 3),
  ];
  return changes[random(changes.length)]!();
}

describe("any sequence of operations", () => {
  it.each([1, 2, 3, 7, 50, 400])("keeps %i steps tiled, and undo-all gives the original back", (steps) => {
    for (let seed = 1; seed <= 40; seed += 1) {
      const random = generator(seed * 1000 + steps);
      const original = blank(steps);
      const frozen = JSON.stringify(original);
      let history = begin(original);
      const seen: string[] = [frozen];
      for (let count = 0; count < 60; count += 1) {
        const next = push(history, randomChange(history.present, random));
        if (next !== history) seen.push(JSON.stringify(next.present));
        history = next;
        expectValid(history.present, steps);
        expect(toSegments(fromSegments(steps, toSegments(history.present)))).toEqual(toSegments(history.present));
      }
      const last = JSON.stringify(history.present);
      expect(history.past.length).toBe(seen.length - 1);
      while (history.past.length > 0) {
        expect(JSON.stringify(history.present)).toBe(seen[history.past.length]);
        history = undo(history);
      }
      expect(history.present).toBe(original);
      expect(JSON.stringify(history.present)).toBe(frozen);
      while (history.future.length > 0) history = redo(history);
      expect(JSON.stringify(history.present)).toBe(last);
    }
  });

  it("finds the segment of every step", () => {
    const random = generator(5);
    let timeline = blank(200);
    for (let count = 0; count < 30; count += 1) timeline = cut(timeline, random(200));
    for (let step = 0; step < 200; step += 1) {
      const index = segmentAt(timeline, step);
      expect(timeline.boundaries[index]).toBeLessThanOrEqual(step);
      expect(timeline.boundaries[index + 1]).toBeGreaterThan(step);
    }
  });
});

describe("operations", () => {
  const three = cutAndLabel(cutAndLabel(blank(100), 30, "reach"), 60, "grasp");

  it("labels the segment that ends at the cut", () => {
    expect(toSegments(three)).toEqual([
      { start: 0, end: 30, text: "reach", provenance: "human" },
      { start: 30, end: 60, text: "grasp", provenance: "human" },
      { start: 60, end: 100, text: "", provenance: "human" },
    ]);
  });

  it("labels the last segment at the last step and the first at step 0, without a cut", () => {
    expect(cutAndLabel(three, 99, "place").labels.map(({ text }) => text)).toEqual(["reach", "grasp", "place"]);
    expect(cutAndLabel(three, 0, "wait").labels.map(({ text }) => text)).toEqual(["wait", "grasp", ""]);
  });

  it("relabels what ends at an existing boundary", () => {
    const changed = cutAndLabel(three, 60, "lift");
    expect(changed.boundaries).toEqual(three.boundaries);
    expect(changed.labels[1]?.text).toBe("lift");
  });

  it("gives the same object back when nothing changes", () => {
    expect(cut(three, 0)).toBe(three);
    expect(cut(three, 100)).toBe(three);
    expect(cut(three, 30)).toBe(three);
    expect(cut(three, 12.5)).toBe(three);
    expect(labelAt(three, 0, " reach ")).toBe(three);
    expect(labelAt(three, 9, "x")).toBe(three);
    expect(moveBoundary(three, 0, 5)).toBe(three);
    expect(moveBoundary(three, 3, 5)).toBe(three);
    expect(moveBoundary(three, 1, 30)).toBe(three);
    expect(moveBoundary(three, 1, NaN)).toBe(three);
    expect(merge(three, 2)).toBe(three);
    expect(removeBoundary(three, 0)).toBe(three);
  });

  it("keeps a dragged boundary between its neighbours", () => {
    expect(moveBoundary(three, 1, 500).boundaries).toEqual([0, 59, 60, 100]);
    expect(moveBoundary(three, 2, -5).boundaries).toEqual([0, 30, 31, 100]);
    expect(nudge(three, 1, -1).boundaries).toEqual([0, 29, 60, 100]);
  });

  it("merges with the text that is there", () => {
    expect(merge(three, 0).labels.map(({ text }) => text)).toEqual(["reach", ""]);
    const late = labelAt(cut(blank(10), 5), 1, "place");
    expect(merge(late, 0).labels.map(({ text }) => text)).toEqual(["place"]);
  });

  it("remembers that a person changed what a machine or a script said", () => {
    const proposed = fromSegments(20, [
      { start: 0, end: 8, text: "a", provenance: "machine_accepted" },
      { start: 8, end: 14, text: "b", provenance: "scripted" },
      { start: 14, end: 20, text: "c", provenance: "scripted" },
    ]);
    expect(moveBoundary(proposed, 1, 9).labels.map(({ provenance }) => provenance)).toEqual([
      "machine_edited",
      "human",
      "scripted",
    ]);
    expect(labelAt(proposed, 2, "d").labels[2]).toEqual({ text: "d", provenance: "human" });
  });

  it("jumps to boundaries and stops at the ends", () => {
    expect([jump(three, 0, 1), jump(three, 30, 1), jump(three, 60, 1)]).toEqual([30, 60, 99]);
    expect([jump(three, 99, -1), jump(three, 60, -1), jump(three, 30, -1), jump(three, 0, -1)]).toEqual([60, 30, 0, 0]);
  });

  it("finds the nearest inner boundary", () => {
    expect([nearestBoundary(three, 0), nearestBoundary(three, 44), nearestBoundary(three, 99)]).toEqual([1, 1, 2]);
    expect(nearestBoundary(blank(10), 4)).toBeNull();
  });

  it("refuses segments that don't tile the episode", () => {
    expect(() => fromSegments(10, [{ start: 0, end: 9, text: "", provenance: "human" }])).toThrow("end at 9");
    expect(() => fromSegments(10, [{ start: 1, end: 10, text: "", provenance: "human" }])).toThrow("start at 0");
  });

  it("tidies text as the server does", () => {
    expect(tidy("  place \n the  cube ")).toBe("place the cube");
    expect(tidy("   ")).toBe("");
  });

  it("says what keeps it from being published", () => {
    const found = problemsOf(labelAt(three, 1, "reach"), ["reach"], 50);
    expect(found.filter(({ level }) => level === "error")).toEqual([
      { level: "error", segment: 2, message: "has no text" },
    ]);
    expect(found.some(({ segment, message }) => segment === 1 && message.includes("same"))).toBe(true);
    expect(problemsOf(cut(blank(2000), 10), [], 50).filter(({ level }) => level === "warning").length).toBe(2);
    expect(labelledShare(three)).toBeCloseTo(0.6);
  });
});

describe("history", () => {
  it("undoes a drag as one change", () => {
    let history = begin(cut(blank(100), 40));
    for (const step of [45, 50, 55]) history = push(history, moveBoundary(history.present, 1, step), "drag 1");
    history = push(close(history), moveBoundary(history.present, 1, 60), "drag 1");
    history = undo(history);
    expect(history.present.boundaries[1]).toBe(55);
    history = undo(history);
    expect(history.present.boundaries[1]).toBe(40);
    expect(undo(history)).toBe(history);
  });

  it("forgets what was undone once something else is done", () => {
    let history = push(begin(blank(10)), cut(blank(10), 5));
    history = push(undo(history), cut(blank(10), 3));
    expect(redo(history)).toBe(history);
  });
});
