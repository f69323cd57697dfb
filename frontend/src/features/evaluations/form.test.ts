import { expect, test } from "vitest";

import { asBefore, request } from "./form";

const SETTINGS = {
  kind: "closed_loop",
  task: "pick_colour",
  pick: { level: "jitter", split: "held_out", swapped: false },
  episodes: 50,
  seed: 2000,
  max_steps: null,
  execute_steps: 8,
  instruction: null,
};
const CHOSEN = { kind: "closed_loop", checkpoint_id: "c", version_id: null } as const;

test("another evaluation is asked for as the one before it", () => {
  const asked = request({ ...CHOSEN, ...asBefore(SETTINGS) });
  expect(asked).toEqual({ ...SETTINGS, checkpoint_id: "c", inference_steps: null });
});

test("the first one has defaults, and no options of another task", () => {
  const asked = request({ ...CHOSEN, ...asBefore(null), pick: { level: "jitter", split: "any", swapped: true } });
  expect(asked).toMatchObject({ task: "transfer_cube", episodes: 10, pick: { level: "spots", swapped: false } });
});

test("a task that is no more is left out", () => {
  expect(asBefore({ task: "juggle", episodes: 3 })).toEqual(asBefore(null));
});

test("an open loop asks for what belongs to it", () => {
  const asked = request({
    ...asBefore({ stride: 4, held_out: false }),
    kind: "open_loop",
    checkpoint_id: "c",
    version_id: "v",
  });
  expect(asked).toEqual({
    kind: "open_loop",
    checkpoint_id: "c",
    inference_steps: null,
    version_id: "v",
    held_out: false,
    stride: 4,
  });
});
