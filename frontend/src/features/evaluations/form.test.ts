// @vitest-environment happy-dom
import { expect, test } from "vitest";

import type { Field, RobotKind } from "@/features/robots/core/tasks";

import { asBefore, request } from "./form";

const field = (name: string, value: boolean | string): Field => ({
  name,
  label: name,
  help: "",
  kind: typeof value === "string" ? "choice" : "flag",
  default: value,
  optional: false,
  choices: [],
  in_demonstrations: true,
});
const KINDS: RobotKind[] = [
  {
    name: "aloha_sim",
    title: "simulated ALOHA",
    recovers: true,
    tasks: [
      { name: "transfer_cube", title: "Transfer the cube", instructions: [], fields: [] },
      {
        name: "pick_colour",
        title: "Pick the named cube",
        instructions: [],
        fields: [field("level", "spots"), field("split", "any"), field("swapped", false)],
      },
    ],
  },
];

const SETTINGS = {
  kind: "closed_loop",
  robot: "aloha_sim",
  task: "pick_colour",
  options: { level: "jitter", split: "held_out", swapped: false },
  episodes: 50,
  seed: 2000,
  max_steps: null,
  execute_steps: 8,
  instruction: null,
};
const CHOSEN = { kind: "closed_loop", checkpoint_id: "c", version_id: null } as const;

test("another evaluation is asked for as the one before it", () => {
  const asked = request({ ...CHOSEN, ...asBefore(SETTINGS, KINDS, null) }, KINDS);
  expect(asked).toEqual({ ...SETTINGS, checkpoint_id: "c", inference_steps: null });
});

test("the first one has defaults, and no options of another task", () => {
  const asked = request({ ...CHOSEN, ...asBefore(null, KINDS, null), options: { level: "jitter" } }, KINDS);
  expect(asked).toMatchObject({ task: "transfer_cube", episodes: 10, options: {} });
});

test("an evaluation that an earlier version stored is asked for again", () => {
  const { options, ...before } = SETTINGS;
  const asked = request({ ...CHOSEN, ...asBefore({ ...before, pick: options }, KINDS, null) }, KINDS);
  expect(asked).toMatchObject({ robot: "aloha_sim", task: "pick_colour", options });
});

test("a task that is no more is left out", () => {
  expect(asBefore({ task: "juggle", episodes: 3 }, KINDS, null)).toEqual(asBefore(null, KINDS, null));
});

test("an open loop asks for what belongs to it", () => {
  const asked = request(
    {
      ...asBefore({ stride: 4, held_out: false }, KINDS, null),
      kind: "open_loop",
      checkpoint_id: "c",
      version_id: "v",
    },
    KINDS,
  );
  expect(asked).toEqual({
    kind: "open_loop",
    checkpoint_id: "c",
    inference_steps: null,
    version_id: "v",
    held_out: false,
    stride: 4,
  });
});

test("it begins with the robot that the checkpoint was trained for, where that one has tasks", () => {
  const bench = {
    name: "bench_arm",
    title: "bench arm",
    recovers: false,
    tasks: [{ name: "reach", title: "Reach", instructions: [], fields: [] }],
  };
  const robots = [...KINDS, bench];
  expect(asBefore(null, robots, "bench_arm")).toMatchObject({ robot: "bench_arm", task: "reach" });
  expect(asBefore(null, robots, "somebody_elses")).toMatchObject({ robot: "aloha_sim", task: "transfer_cube" });
  expect(asBefore(SETTINGS, robots, "bench_arm")).toMatchObject({ robot: "aloha_sim", task: "pick_colour" });
});
