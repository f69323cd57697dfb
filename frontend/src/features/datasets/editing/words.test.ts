import { expect, test } from "vitest";

import type { Planned } from "./edits";
import {
  askedIn,
  bodyOf,
  dimensionsOf,
  editText,
  listed,
  numbers,
  previewText,
  rangesOf,
  rangesText,
  renamesOf,
  stayedText,
  stepsOf,
  stepsText,
  type Fields,
} from "./words";

const FIELDS: Fields = {
  first: "",
  last: "",
  at: "",
  drop: {},
  cameras: {},
  dimensions: "",
  target: null,
  name: "",
  instruction: "",
  outcome: null,
};

test("what people type becomes steps and names, or nothing", () => {
  expect(stepsOf("10, 20 30")).toEqual([10, 20, 30]);
  expect(stepsOf("")).toBeNull();
  expect(stepsOf("0, 5")).toBeNull();
  expect(stepsOf("1.5")).toBeNull();
  expect(dimensionsOf(" 3 = elbow, grip=hand")).toEqual({ "3": "elbow", grip: "hand" });
  expect(dimensionsOf("3")).toBeNull();
  expect(renamesOf({ a: " b ", c: "c", d: "" })).toEqual({ a: "b" });
});

test("nothing is asked for while something is missing", () => {
  expect(bodyOf("keep", null, FIELDS)).toBeNull();
  expect(bodyOf("keep", null, { ...FIELDS, first: 9, last: 3 })).toBeNull();
  expect(bodyOf("cut", ["a"], { ...FIELDS, first: 3, last: 9 })).toEqual({
    action: "cut",
    episode_ids: ["a"],
    first: 3,
    last: 9,
  });
  expect(bodyOf("move", null, { ...FIELDS, target: "new", name: " " })).toBeNull();
  expect(bodyOf("copy", null, { ...FIELDS, target: "d" })).toEqual({
    action: "copy",
    episode_ids: null,
    target_id: "d",
  });
  expect(bodyOf("rename", null, { ...FIELDS, cameras: { a: "a" } })).toBeNull();
});

test("what is said is short and true", () => {
  const many = [1, 2, 3, 4, 5, 6, 7].map((number) => ({ number, episode_id: String(number), steps: 9 }));
  expect(numbers(many)).toBe("1, 2, 3, 4, 5 and 2 more");
  expect(
    rangesText([
      { first: 0, last: 9 },
      { first: 12, last: 12 },
    ]),
  ).toBe("0–9, 12");
  const stayed = many.map(({ number }) => ({ number, reason: "changed since" }));
  expect(stayedText(stayed, 2)).toBe("Left as they are: 1 (changed since), 2 (changed since) and 5 more.");
  expect(stayedText([], 2)).toBe("");
  expect(previewText({ items: [], steps: 0, steps_before: 0, problems: 0, skipped: [] })).toBe("Nothing would change.");
  expect(
    editText({
      action: "join",
      sources: many.slice(0, 2),
      results: many.slice(2, 3),
      target_name: "Cups",
      finished_at: "2026-01-01T00:00:00Z",
    }),
  ).toBe("Joined episodes 1, 2: now 3 in Cups");
  expect(
    editText({ action: "move", sources: many.slice(0, 1), results: [], target_name: "Cups", finished_at: null }),
  ).toBe("Move episode 1 to Cups");
});

test("what cannot be made is listed first, and all of it", () => {
  const items = [null, "too short", null, null, "no camera"].map((problem) => ({ problem }) as Planned);
  const problems = (most: number) => listed(items, most).map(({ problem }) => problem);
  expect(problems(3)).toEqual(["too short", "no camera", null]);
  expect(problems(1)).toEqual(["too short", "no camera"]);
});

test("ranges that people type, and those that a page shows, are read", () => {
  expect(rangesOf("0-24, 154 – 174 200")).toEqual([
    { first: 0, last: 24 },
    { first: 154, last: 174 },
    { first: 200, last: 200 },
  ]);
  for (const wrong of ["", "5-", "9-3", "1-2-3", "a", "1.5"]) expect(rangesOf(wrong)).toBeNull();
  const shown = [
    { first: 0, last: 3 },
    { first: 7, last: 7 },
  ];
  expect(rangesOf(rangesText(shown))).toEqual(shown);
});

test("idle steps are those that were found, or those that somebody typed", () => {
  expect(bodyOf("drop_idle", null, FIELDS)).toEqual({ action: "drop_idle", episode_ids: null });
  expect(bodyOf("drop_idle", ["a"], { ...FIELDS, drop: { a: "3-9" } })).toEqual({
    action: "drop_idle",
    episode_ids: ["a"],
    drop: { a: [{ first: 3, last: 9 }] },
  });
  expect(bodyOf("trim_idle", null, { ...FIELDS, drop: { a: "3-" } })).toBeNull();
});

test("an episode's own page says what is filled in", () => {
  const asked = (text: string) => askedIn(new URLSearchParams(text));
  expect(asked("do=keep&first=0&last=80")).toEqual({ action: "keep", fields: { first: 0, last: 80 } });
  expect(asked("do=cut&first=12&last=80")).toEqual({ action: "cut", fields: { first: 12, last: 80 } });
  expect(asked("step=12")).toEqual({ action: "split", fields: { first: 12, at: "12" } });
  expect(asked("do=delete")).toEqual({ action: "split", fields: { first: "", at: "" } });
});

test("one step is a step, ranges are steps", () => {
  expect(stepsText([{ first: 7, last: 7 }])).toBe("step 7");
  expect(stepsText([{ first: 0, last: 49 }])).toBe("steps 0–49");
  expect(
    stepsText([
      { first: 3, last: 3 },
      { first: 9, last: 9 },
    ]),
  ).toBe("steps 3, 9");
});
