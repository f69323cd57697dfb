import { describe, expect, it } from "vitest";

import { bins, median, scale } from "./bins";

describe("bins", () => {
  it("hold every value once, the highest in the last", () => {
    const values = [10, 11, 12, 20, 20, 35, 40];
    const found = bins(values);
    expect(found.flatMap(({ members }) => members).sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(found.at(-1)?.members).toContain(6);
    for (const { from, to, members } of found)
      for (const at of members) {
        expect(values[at]).toBeGreaterThanOrEqual(from);
        expect(values[at]).toBeLessThanOrEqual(to);
      }
  });

  it("are one where all values are the same, and none without any", () => {
    expect(bins([7, 7, 7])).toEqual([{ from: 7, to: 7, members: [0, 1, 2] }]);
    expect(bins([])).toEqual([]);
  });

  it("stay few for many values", () => {
    expect(bins(Array.from({ length: 5000 }, (_, at) => at))).toHaveLength(24);
  });
});

describe("median", () => {
  it("is the middle, or between the two in the middle", () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(median([])).toBe(0);
  });
});

it("places values between the lowest and the highest, equal ones in the middle", () => {
  const { low, high, share } = scale([2, 6, 3]);
  expect([low, high, share(2), share(3), share(6)]).toEqual([2, 6, 0, 0.25, 1]);
  expect(scale([4, 4])).toMatchObject({ low: 4, high: 4 });
  expect(scale([4, 4]).share(4)).toBe(0.5);
});
