// @vitest-environment happy-dom
import { expect, test } from "vitest";

import { FULL_ANGULAR, FULL_LINEAR, isTyping, KEYS, keyName, twists } from "./keys";

const held = (...codes: string[]) => new Set(codes);

test("a key moves the chosen arm alone, as fast as the speed says", () => {
  const { left, right } = twists(held("KeyD"), "right", 0.5);
  expect(right).toEqual({ linear: [0.5 * FULL_LINEAR, 0, 0], angular: [0, 0, 0], gripper: 0 });
  expect(left).toEqual({ linear: [0, 0, 0], angular: [0, 0, 0], gripper: 0 });
});

test("no key, no motion", () => {
  expect(twists(held(), "both", 1).left.linear).toEqual([0, 0, 0]);
  expect(twists(held("KeyP", "Digit7"), "left", 1).left).toEqual(twists(held(), "left", 1).left);
});

test("opposite keys cancel", () => {
  expect(twists(held("KeyW", "KeyS", "KeyN", "KeyM"), "left", 1).left).toEqual({
    linear: [0, 0, 0],
    angular: [0, 0, 0],
    gripper: 0,
  });
});

test("two directions at once are no faster than one", () => {
  const { linear } = twists(held("KeyW", "KeyD", "KeyE"), "left", 1).left;
  expect(Math.hypot(...linear)).toBeCloseTo(FULL_LINEAR);
  expect(linear[0]).toBeCloseTo(linear[1]);
  expect(linear[1]).toBeCloseTo(linear[2]);
});

test("turning has a speed of its own", () => {
  expect(Math.abs(twists(held("KeyJ"), "left", 1).left.angular[2])).toBeCloseTo(FULL_ANGULAR);
});

test("both: each hand has its arm", () => {
  const { left, right } = twists(held("KeyW", "KeyL", "KeyX", "KeyN"), "both", 1);
  expect(left.linear).toEqual([0, FULL_LINEAR, 0]);
  expect(right.linear).toEqual([FULL_LINEAR, 0, 0]);
  expect([left.gripper, right.gripper]).toEqual([1, -1]);
  expect(right.angular).toEqual([0, 0, 0]);
});

test("no key has two meanings at once", () => {
  for (const keys of Object.values(KEYS)) expect(new Set(keys.map(({ code }) => code)).size).toBe(keys.length);
});

test("names on keys", () => {
  expect(keyName("KeyW")).toBe("W");
});

test("typing is not driving", () => {
  const input = document.createElement("input");
  expect(isTyping(input)).toBe(true);
  input.type = "range";
  expect(isTyping(input)).toBe(false);
  expect(isTyping(document.createElement("textarea"))).toBe(true);
  expect(isTyping(document.createElement("button"))).toBe(false);
  expect(isTyping(null)).toBe(false);
});
