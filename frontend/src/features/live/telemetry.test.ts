import { expect, test } from "vitest";

import type { Samples } from "./messages";
import { jointGroups, Telemetry } from "./telemetry";

/** Steps from .. until, whose actions are the step itself and its negative. */
function samples(from: number, until: number, chunk?: [step: number, rows: number[][], steps?: number]): Samples {
  const step = Array.from({ length: until - from + 1 }, (_, index) => from + index);
  return {
    step,
    time: step.map((each) => each / 50),
    state: step.map((each) => [each + 0.5, 0]),
    action: step.map((each) => [each, -each]),
    chunk_step: chunk?.[0] ?? null,
    chunk_steps: chunk?.[2] ?? chunk?.[1].length ?? null,
    chunk: chunk?.[1] ?? null,
  };
}

test("ten seconds are kept, and drawn by seconds from now", () => {
  const telemetry = new Telemetry(50);
  telemetry.add(samples(0, 400));
  telemetry.add(samples(401, 700));
  const { seconds, sent } = telemetry.curves([0]);
  expect([seconds[0], seconds.at(-1)]).toEqual([-10, 0]);
  expect([sent[0]?.[0], sent[0]?.at(-1)]).toEqual([200, 700]);
  expect(telemetry.stateOf(0)).toBe(700.5);
});

test("steps that are missing are gaps, and what is told twice counts once", () => {
  const telemetry = new Telemetry(50);
  telemetry.add(samples(0, 10));
  telemetry.add(samples(8, 12));
  telemetry.add(samples(15, 16));
  const { sent } = telemetry.curves([1]);
  expect(sent[0]?.slice(-5)).toEqual([-12, null, null, -15, -16]);
});

test("the newest chunk lies ahead, over what was sent of it", () => {
  const telemetry = new Telemetry(50);
  telemetry.add(
    samples(0, 10, [
      8,
      [
        [80, 0],
        [90, 0],
        [100, 0],
        [110, 0],
        [120, 0],
      ],
    ]),
  );
  const { seconds, sent, predicted } = telemetry.curves([0]);
  expect(seconds.at(-1)).toBeCloseTo(2 / 50);
  expect(sent[0]?.slice(-5)).toEqual([8, 9, 10, null, null]);
  expect(predicted[0]?.slice(-5)).toEqual([80, 90, 100, 110, 120]);
});

test("a chunk that was thinned is as long as it was", () => {
  const telemetry = new Telemetry(50);
  telemetry.add(samples(0, 10, [10, [[1], [2], [3]], 101]));
  const { seconds, predicted } = telemetry.curves([0]);
  expect(seconds.at(-1)).toBeCloseTo(2);
  const ahead = predicted[0]?.slice(-101) ?? [];
  expect([ahead[0], ahead[50], ahead[100]]).toEqual([1, 2, 3]);
  expect(ahead.filter((value) => value !== null)).toHaveLength(3);
});

test("a host that begins anew begins anew here", () => {
  const telemetry = new Telemetry(50);
  telemetry.add(samples(5000, 5100));
  telemetry.add(samples(0, 5));
  expect(telemetry.newest).toBe(5);
  expect(telemetry.curves([0]).sent[0]?.filter((value) => value !== null)).toHaveLength(6);
});

test("groups of joints", () => {
  const aloha = ["left_waist", "left_gripper", "right_waist", "right_gripper"];
  expect(jointGroups(aloha)).toEqual([
    { label: "left", joints: [0] },
    { label: "right", joints: [2] },
    { label: "grippers", joints: [1, 3] },
  ]);
  expect(jointGroups(["a", "b", "c", "d", "e"])).toEqual([{ label: "all joints", joints: [0, 1, 2, 3, 4] }]);
  expect(jointGroups([])).toEqual([{ label: "all joints", joints: [] }]);
});
