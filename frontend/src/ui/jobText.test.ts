import { expect, test } from "vitest";

import { countText, percentDone, waitText } from "./jobText";

test("progress is a share only where the job says how much there is", () => {
  expect(percentDone({ state: "running", done: 25, total: 50 })).toBe(50);
  expect(percentDone({ state: "running", done: 25, total: null })).toBeNull();
  expect(percentDone({ state: "running", done: 60, total: 50 })).toBe(100);
  expect(percentDone({ state: "done", done: 0, total: null })).toBe(100);
});

test("what is counted carries its unit", () => {
  expect(countText({ kind: "train", done: 12, total: 50 })).toBe("12 of 50 steps");
  expect(countText({ kind: "record", done: 3, total: null })).toBe("3 episodes");
  expect(countText({ kind: "train", done: 0, total: null })).toBe("");
});

test("a person who waits is told for what", () => {
  const queued = { state: "queued", queue_position: 1, seconds_left: null } as const;
  expect(waitText(queued)).toBe("next in the queue");
  expect(waitText({ ...queued, queue_position: 4 })).toBe("number 4 in the queue");
  expect(waitText(queued, 0)).toMatch(/no worker/);
  expect(waitText({ state: "running", queue_position: null, seconds_left: 130 })).toBe("about 2 min left");
  expect(waitText({ state: "done", queue_position: null, seconds_left: 3 })).toBe("");
});
