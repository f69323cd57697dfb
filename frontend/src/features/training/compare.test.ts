import { expect, test } from "vitest";

import type { Schema } from "@/api/client";

import { dataText, differencesOf, distinct, flat, startText } from "./compare";

const source = (name: string, number: number, weight = 1) => ({
  version_id: `${name}${number}`,
  dataset_id: name,
  dataset_name: name,
  number,
  manifest_sha256: "",
  weight,
});

function run(more: Partial<Schema<"RunDetail">>): Schema<"RunDetail"> {
  return {
    name: "run",
    sources: [source("Cubes", 1)],
    parent_name: null,
    base_model_name: "Qwen",
    expert_name: null,
    git: "abc",
    spec: {},
    ...more,
  } as Schema<"RunDetail">;
}

test("nested tables become dotted paths", () => {
  expect(flat({ a: 1, optim: { lr: 2, deep: { x: [1, 2] } }, lora: null })).toEqual({
    a: 1,
    "optim.lr": 2,
    "optim.deep.x": [1, 2],
    lora: null,
  });
});

test("runs are compared by what differs alone, not by where they lie", () => {
  const one = run({ spec: { steps: 10, seed: 0, output_dir: "/a", betas: [1, 2], optim: { lr: 1e-5 } } });
  const two = run({ spec: { steps: 20, seed: 0, output_dir: "/b", betas: [1, 2], optim: { lr: 1e-5 } } });
  expect(differencesOf([one, two])).toEqual([{ path: "steps", values: ["10", "20"] }]);
  expect(differencesOf([one])).toEqual([]);
});

test("data and start are compared by name", () => {
  const one = run({});
  const two = run({ sources: [source("Cubes", 1, 3), source("Pegs", 2)], parent_name: "run, step 100" });
  expect(differencesOf([one, two])).toEqual([
    { path: "started from", values: ["Qwen", "run, step 100"] },
    { path: "data", values: ["Cubes v1", "Cubes v1 (75 %), Pegs v2 (25 %)"] },
  ]);
});

test("runs of the same name are told apart", () => {
  expect(distinct(["a", "b", "a", "a"])).toEqual(["a", "b", "a (2)", "a (3)"]);
});

test("texts", () => {
  expect(dataText([])).toBe("");
  expect(startText({ parent_name: null, base_model_name: "Qwen", expert_name: "ScaleDP" })).toBe("Qwen + ScaleDP");
  expect(startText({ parent_name: null, base_model_name: null, expert_name: null })).toBe("unknown");
});
