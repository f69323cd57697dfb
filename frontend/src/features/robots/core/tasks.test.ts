// @vitest-environment happy-dom
import { expect, test } from "vitest";

import { TOPICS } from "@/api/events";

import {
  askedOptions,
  boundsOf,
  fieldsAsked,
  kindsQuery,
  optionsOf,
  optionsText,
  tasksQuery,
  type Field,
  type Task,
} from "./tasks";

const PLAIN = { help: "", optional: false, low: null, high: null, unit: null, group: null, said: null, choices: [] };
const field = (change: Partial<Field> & Pick<Field, "name" | "label" | "kind" | "default">): Field => ({
  ...PLAIN,
  demonstrations: change.default,
  in_demonstrations: true,
  ...change,
});
const PICK: Task = {
  name: "pick_colour",
  title: "Pick the named cube",
  dataset: null,
  instructions: [],
  fields: [
    field({ name: "level", label: "Cubes", kind: "choice", default: "spots" }),
    field({ name: "split", label: "Places", kind: "choice", default: "any", demonstrations: "training" }),
    field({
      name: "swapped",
      label: "Name the other cube",
      kind: "flag",
      default: false,
      demonstrations: null,
      in_demonstrations: false,
      said: "the other cube named",
    }),
  ],
};
const JITTER = { level: "jitter", split: "held_out", swapped: true };

test("options are sent with the task that has them and with no other", () => {
  expect(optionsOf(PICK, JITTER)).toEqual(JITTER);
  expect(optionsOf({ ...PICK, fields: [] }, JITTER)).toEqual({});
});

test("demonstrations have defaults of their own and ask for less", () => {
  expect(optionsOf(PICK, {}, true)).toEqual({ level: "spots", split: "training", swapped: false });
  expect(fieldsAsked(PICK, true).map(({ name }) => name)).toEqual(["level", "split"]);
});

test("what was asked of a task in words", () => {
  expect(optionsText(PICK, JITTER)).toBe("jitter, held out, the other cube named");
  expect(optionsText(PICK, {})).toBe("spots");
  expect(optionsText(undefined, JITTER)).toBe("");
  const push = field({ name: "distance", label: "Distance", kind: "number", default: 0.1, unit: "m" });
  expect(optionsText({ ...PICK, fields: [push] }, { distance: 0.3 })).toBe("distance 0.3 m");
});

test("options of an evaluation that an earlier version stored", () => {
  expect(askedOptions({ task: "pick_colour", pick: JITTER })).toEqual(JITTER);
  expect(askedOptions({ task: "insertion", pick: { level: "spots" } })).toEqual({});
  expect(askedOptions({ task: "pick_colour", options: { level: "spots" } })).toEqual({ level: "spots" });
});

test("no event of the studio fetches again what robots are", () => {
  for (const { queryKey } of [kindsQuery, tasksQuery("arm")]) expect(TOPICS).not.toContain(queryKey[0]);
});

test("a bound that a value may not have is no least value", () => {
  const part = { ...field({ name: "part", label: "Part", kind: "number", default: 0.5 }), above: 0, high: 1 };
  expect(boundsOf(part)).toEqual({ min: undefined, max: 1, above: 0, below: undefined });
});
