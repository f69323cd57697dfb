import { describe, expect, test } from "vitest";

import {
  agrees,
  apart,
  closedLoop,
  column,
  listed,
  openLoop,
  paired,
  spanAt,
  seedsText,
  stepAt,
  timeAt,
  transcript,
  wilson,
  wrongShare,
} from "./report";

test("the interval of a share is Wilson's", () => {
  // statsmodels.stats.proportion.proportion_confint(7, 10, method="wilson")
  const [low, high] = wilson(7, 10);
  expect(low).toBeCloseTo(0.3968, 4);
  expect(high).toBeCloseTo(0.8922, 4);
  expect(wilson(0, 0)).toEqual([0, 1]);
  expect(wilson(0, 5)[0]).toBe(0);
  expect(wilson(5, 5)[1]).toBe(1);
});

test("wrong is a share of the episodes that name an object, with Wilson's interval", () => {
  const judged = [true, false, false, false, false, false, false, false, false, false].map((wrong) => ({ wrong }));
  const share = wrongShare([...judged, { wrong: null }]);
  // statsmodels.stats.proportion.proportion_confint(1, 10, method="wilson")
  expect(share?.rate).toBe(0.1);
  expect(share?.interval[0]).toBeCloseTo(0.0179, 4);
  expect(share?.interval[1]).toBeCloseTo(0.4042, 4);
  expect(wrongShare([{ wrong: null }, {}])).toBeNull();
});

describe("what was said", () => {
  const spans = transcript({
    steps: 100,
    reasoning: [
      { step: 0, text: "reach" },
      { step: 16, text: "reach" },
      { step: 32, text: "grasp" },
    ],
  });

  test("joins repetitions and ends with the episode", () => {
    expect(spans).toEqual([
      { start: 0, end: 32, text: "reach" },
      { start: 32, end: 100, text: "grasp" },
    ]);
  });

  test("is found by step", () => {
    expect([spanAt(spans, 0), spanAt(spans, 31), spanAt(spans, 32), spanAt(spans, 99)]).toEqual([0, 0, 1, 1]);
    expect(spanAt([], 5)).toBe(-1);
  });
});

test("steps and times of a video fit each other", () => {
  expect(stepAt(0, 4, 400)).toBe(0);
  expect(stepAt(4, 4, 400)).toBe(399);
  expect(stepAt(1, NaN, 400)).toBe(0);
  for (const step of [0, 17, 399]) expect(stepAt(timeAt(step, 7.3, 400), 7.3, 400)).toBe(step);
});

test("reports are told apart by their kind", () => {
  expect(closedLoop({ kind: "closed_loop" })).not.toBeNull();
  expect(closedLoop({ kind: "open_loop" })).toBeNull();
  expect(openLoop(null)).toBeNull();
});

test("predictions of different chunks are not joined", () => {
  const found = apart([0, 1, 40, 41], [[1], [2], [3], [4]]);
  expect(found.steps).toEqual([0, 1, 2, 40, 41]);
  expect(column(found.rows, 0)).toEqual([1, 2, null, 3, 4]);
  expect(apart([], [])).toEqual({ steps: [], rows: [] });
});

test("texts", () => {
  expect(seedsText(1000, 10)).toBe("1000 to 1009");
  expect(seedsText(7, 1)).toBe("7");
  expect(listed([1])).toBe("1");
  expect(listed([1, 2, 3])).toBe("1, 2 and 3");
  expect(listed([1, 2, 3, 4], 2)).toBe("1, 2 and 2 more");
  expect(agrees("a ", "a")).toBe(true);
  expect(agrees("a", "b")).toBe(false);
  expect(agrees("a", null)).toBeNull();
});

test("episodes of the same seed are put side by side", () => {
  const outcome = (seed: number) => ({ seed }) as Parameters<typeof paired>[0][number];
  expect(paired([outcome(1), outcome(2)], [outcome(2), outcome(3)]).map(({ seed }) => seed)).toEqual([2]);
});
