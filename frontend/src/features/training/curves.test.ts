import { describe, expect, test } from "vitest";

import {
  aboveZero,
  attemptMarks,
  chartsOf,
  extended,
  isThinned,
  labelOf,
  nextAfter,
  overlaid,
  POINTS,
  refined,
  smooth,
  type Curves,
} from "./curves";

const all = { low: {}, high: {} };
const held: Curves = { steps: [5, 10], attempts: [1, 1], values: { loss: [3, 2] }, ...all, total: 2 };

describe("more points", () => {
  test("are asked for after the last step that is held", () => {
    expect(nextAfter(undefined, 1)).toBe(0);
    expect(nextAfter(held, 1)).toBe(10);
  });

  test("of a new attempt cut the old ones back: everything is asked for until it has logged", () => {
    expect(nextAfter(held, 2)).toBe(0);
    expect(nextAfter({ ...held, attempts: [1, 2] }, 2)).toBe(10);
  });

  test("are thinned out anew once there are too many", () => {
    const steps = Array.from({ length: 2 * POINTS + 1 }, (_, index) => index + 1);
    expect(nextAfter({ ...held, steps, attempts: steps.map(() => 1) }, 1)).toBe(0);
  });

  test("join on, with gaps where a curve was not logged", () => {
    const chunk: Curves = { steps: [15], attempts: [1], values: { loss: [1], val_loss: [1.5] }, ...all, total: 1 };
    expect(extended(held, chunk)).toEqual({
      steps: [5, 10, 15],
      attempts: [1, 1, 1],
      values: { loss: [3, 2, 1], val_loss: [null, null, 1.5] },
      ...all,
      total: 3,
    });
    expect(extended(held, { steps: [], attempts: [], values: {}, ...all, total: 0 })).toBe(held);
  });
});

describe("points that stand for several", () => {
  const thinned: Curves = {
    steps: [1, 20, 30, 40],
    attempts: [1, 1, 1, 1],
    values: { loss: [4, 3, 2, 1] },
    low: { loss: [3.5, 2.5, 1.5, 0.5] },
    high: { loss: [4.5, 3.5, 2.5, 1.5] },
    total: 40,
  };
  const one: Curves = { steps: [41], attempts: [1], values: { loss: [7] }, ...all, total: 1 };

  test("go on with points that stand for themselves", () => {
    expect(isThinned(held)).toBe(false);
    const longer = extended(thinned, one);
    expect(isThinned(longer)).toBe(true);
    expect([longer.low.loss?.at(-1), longer.high.loss?.at(-1), longer.total]).toEqual([7, 7, 41]);
  });

  test("give way to finer ones where somebody looks closer", () => {
    const fine: Curves = { steps: [18, 19, 25], attempts: [1, 1, 1], values: { loss: [9, 8, 7] }, ...all, total: 3 };
    const both = refined(thinned, fine);
    expect(both.steps).toEqual([1, 18, 19, 25, 30, 40]);
    expect(both.values.loss).toEqual([4, 9, 8, 7, 2, 1]);
    expect(both.high.loss).toEqual([4.5, 9, 8, 7, 2.5, 1.5]);
    expect(both.total).toBe(40);
    expect(refined(thinned, { ...fine, steps: [], attempts: [], values: {} })).toBe(thinned);
    const atTheEnd = refined(thinned, { ...fine, steps: [38, 39, 40] });
    expect(atTheEnd.steps).toEqual([1, 20, 30, 38, 39, 40]);
  });
});

test("attempts are marked where they begin to log", () => {
  expect(attemptMarks({ ...held, attempts: [1, 3] })).toEqual([{ x: 10, label: "attempt 3" }]);
  expect(attemptMarks(held)).toEqual([]);
});

describe("smoothing", () => {
  test("of a constant is that constant from the first value on", () => {
    for (const value of smooth([2, 2, 2], 0.9)) expect(value).toBeCloseTo(2);
  });

  test("skips gaps, and 0 leaves everything as it is", () => {
    expect(smooth([1, null, 3], 0)).toEqual([1, null, 3]);
    const [first, gap, last] = smooth([1, null, 3], 0.5);
    expect(first).toBeCloseTo(1);
    expect(gap).toBeNull();
    expect(last).toBeCloseTo((0.25 * 1 + 0.5 * 3) / 0.75);
  });
});

test("a logarithmic scale leaves out what is not above 0", () => {
  expect(aboveZero([1, 0, -1, null])).toEqual([1, null, null, null]);
});

test("curves are drawn with their kind, in one order", () => {
  const charts = chartsOf([
    "learning_rate",
    "val_loss",
    "loss",
    "llm_loss",
    "val_action_error_10",
    "val_action_error_1",
  ]);
  expect(charts.map(({ key, lines }) => [key, lines.map(({ name }) => name)])).toEqual([
    ["loss", ["loss", "llm_loss", "val_loss"]],
    ["error", ["val_action_error_1", "val_action_error_10"]],
    ["learning_rate", ["learning_rate"]],
  ]);
  expect(chartsOf(["gpu_heat"])[0]).toMatchObject({ key: "other", lines: [{ label: "gpu heat" }] });
  expect(chartsOf([], ["loss"]).map(({ key }) => key)).toEqual(["loss"]);
  expect(labelOf("val_action_error_16")).toBe("action 16 of a chunk");
});

test("runs lie over each other on the union of their steps", () => {
  const other: Curves = { steps: [10, 20], attempts: [1, 1], values: { loss: [9, 8] }, ...all, total: 2 };
  expect(overlaid([held, other, undefined], "loss")).toEqual({
    x: [5, 10, 20],
    lines: [
      [3, 2, null],
      [null, 9, 8],
      [null, null, null],
    ],
  });
});
