import { describe, expect, it } from "vitest";

import { curvesOf, motionOf, speedsOf } from "./curves";

it("reads the server's columns, states before actions", () => {
  const bytes = new ArrayBuffer(12 + 4 * 6);
  new Uint32Array(bytes, 0, 3).set([2, 1, 2]);
  new Float32Array(bytes, 12).set([1, 2, 3, 4, 5, 6]);
  const curves = curvesOf(motionOf(bytes), ["waist", "elbow"]);
  expect(curves.map(({ name, kind, values }) => [name, kind, [...values]])).toEqual([
    ["waist", "state", [3, 4]],
    ["elbow", "state", [5, 6]],
    ["waist", "action", [1, 2]],
  ]);
});

describe("speedsOf", () => {
  const names = ["left_waist", "left_gripper", "right_waist", "right_gripper"];
  it("is of each arm, without its gripper, in units a second", () => {
    const qpos = [
      [0, 0.1, 0.1],
      [0, 1, 1],
      [0, 0, -0.3],
      [0, 0, 0],
    ];
    const speeds = speedsOf({ qpos }, names, [1, 3], 50);
    expect(speeds.map(({ name }) => name)).toEqual(["left arm", "right arm"]);
    expect(speeds[0]!.values.map((each) => Math.round(each * 1000) / 1000)).toEqual([0, 5, 0]);
    expect(speeds[1]!.values.map((each) => Math.round(each * 1000) / 1000)).toEqual([0, 0, 15]);
  });

  it("is one of a robot whose joints have no sides", () => {
    const [speed, ...more] = speedsOf(
      {
        qpos: [
          [0, 3],
          [0, 4],
        ],
      },
      ["dimension 0", "dimension 1"],
      [],
      10,
    );
    expect([speed!.values, more]).toEqual([[0, 50], []]);
    expect(speedsOf({ qpos: [[1]] }, ["dimension 0"], [], 10)[0]!.values).toEqual([0]);
  });
});
