import { expect, test } from "vitest";

import { roomAround } from "./usePlot";

test("a constant is drawn with room of its own size", () => {
  expect(roomAround(0, 0)).toEqual([-0.1, 0.1]);
  expect(roomAround(50, 50)).toEqual([45, 55]);
  expect(roomAround(-50, -50)).toEqual([-55, -45]);
  expect(roomAround(null, null)).toEqual([null, null]);
});

test("what changes fills the plot", () => {
  const [low, high] = roomAround(0, 1) as [number, number];
  expect(low).toBe(0);
  expect(high).toBeGreaterThanOrEqual(1);
  expect(high).toBeLessThan(1.5);
});
