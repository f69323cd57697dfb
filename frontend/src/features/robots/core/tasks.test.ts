import { expect, test } from "vitest";

import { pickOf, pickText, PLAIN_PICK } from "./tasks";

const JITTER = { level: "jitter", split: "held_out", swapped: true } as const;

test("options are sent with the task that has them and with no other", () => {
  expect(pickOf("pick_colour", JITTER)).toEqual(JITTER);
  expect(pickOf("insertion", JITTER)).toEqual(PLAIN_PICK);
});

test("what was asked of pick_colour in words", () => {
  expect(pickText("pick_colour", JITTER)).toBe("jitter, held out, the other cube named");
  expect(pickText("pick_colour", PLAIN_PICK)).toBe("spots");
  expect(pickText("insertion", JITTER)).toBe("");
  expect(pickText("pick_colour", undefined)).toBe("");
});
