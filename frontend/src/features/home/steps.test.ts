import { expect, test } from "vitest";

import type { Schema } from "@/api/client";

import { firstSteps, nextStep, type Facts, type StepId } from "./steps";

const EMPTY: Facts = { datasets: [], versions: [], models: [], runs: [], checkpoints: [], evaluations: [], jobs: [] };

const job = (kind: Schema<"JobKind">, state: Schema<"JobState">) =>
  ({ id: `${kind}-${state}`, kind, state }) as Schema<"JobOut">;
const dataset = (more: Partial<Schema<"DatasetOut">> = {}) =>
  ({ id: "d", name: "Cube", episodes: 5, labelled: 0, cover_episode_id: "e", ...more }) as Schema<"DatasetOut">;
const run = (stage: number, state: Schema<"JobState">) =>
  ({ id: `run${stage}`, stage, job: job("train", state) }) as Schema<"RunOut">;
const checkpoint = (stage: number, available = true) =>
  ({ id: `c${stage}`, run_id: `run${stage}`, stage, available }) as Schema<"CheckpointOut">;
const version = { id: "v", dataset_id: "d", dataset_name: "Cube", number: 1, episodes: 5 } as Schema<"VersionOut">;
const backbone = { id: "m", name: "Tiny", kind: "backbone", available: true } as Schema<"ModelOut">;

const states = (facts: Facts) =>
  Object.fromEntries(firstSteps(facts).map(({ id, state }) => [id, state])) as Record<StepId, string>;
const linkOf = (facts: Facts, id: StepId) => firstSteps(facts).find((step) => step.id === id)?.to;

test("an empty studio begins with a demo dataset; a base model is possible too", () => {
  expect(states(EMPTY)).toMatchObject({
    data: "ready",
    label: "later",
    model: "ready",
    stage2: "later",
    download: "later",
  });
  expect(nextStep(firstSteps(EMPTY))).toBe("data");
});

test("a recording under way is shown in its step", () => {
  const facts = { ...EMPTY, jobs: [job("record", "running")] };
  const step = firstSteps(facts)[0]!;
  expect(step).toMatchObject({ state: "running", job: { id: "record-running" } });
  expect(nextStep(firstSteps(facts))).toBe("model");
});

test("a recording that failed is shown and may be begun again", () => {
  const step = firstSteps({ ...EMPTY, jobs: [job("record", "failed")] })[0]!;
  expect(step).toMatchObject({ state: "ready", job: { state: "failed" } });
});

test("an old failure is forgotten once the step is done", () => {
  const step = firstSteps({ ...EMPTY, datasets: [dataset()], jobs: [job("record", "failed")] })[0]!;
  expect(step).toMatchObject({ state: "done", job: null });
});

test("labelling leads to an episode, publishing to the dataset", () => {
  expect(linkOf({ ...EMPTY, datasets: [dataset()] }, "label")).toBe("/episodes/e");
  const facts = { ...EMPTY, datasets: [dataset({ labelled: 2 })] };
  expect(states(facts)).toMatchObject({ label: "done", version: "ready" });
  expect(linkOf(facts, "version")).toBe("/datasets/d");
});

test("stage 3 starts from the stage 2 checkpoint", () => {
  const facts = {
    ...EMPTY,
    datasets: [dataset({ labelled: 5 })],
    versions: [version],
    models: [backbone],
    runs: [run(2, "done")],
    checkpoints: [checkpoint(2)],
  };
  expect(states(facts)).toMatchObject({ stage2: "done", stage3: "ready", evaluate: "later" });
  expect(linkOf(facts, "stage3")).toBe("/training/new?stage=3&checkpoint=c2");
});

test("a checkpoint whose files are gone keeps its step done but is no longer offered", () => {
  const facts = {
    ...EMPTY,
    datasets: [dataset({ labelled: 5 })],
    versions: [version],
    models: [backbone],
    runs: [run(3, "done"), run(2, "done")],
    checkpoints: [checkpoint(3, false), checkpoint(2)],
  };
  expect(states(facts)).toMatchObject({ stage2: "done", stage3: "done" });
  expect(linkOf(facts, "evaluate")).toBe("/evaluations/new?checkpoint=c2");
});

test("after an evaluation everything is done", () => {
  const facts = {
    datasets: [dataset({ labelled: 5 })],
    versions: [version],
    models: [backbone],
    runs: [run(3, "done"), run(2, "done")],
    checkpoints: [checkpoint(3), checkpoint(2)],
    evaluations: [{ id: "x", job: job("evaluate", "done") } as Schema<"EvaluationOut">],
    jobs: [],
  };
  expect(new Set(Object.values(states(facts)))).toEqual(new Set(["done"]));
  expect(linkOf(facts, "download")).toBe("/checkpoints/c3");
  expect(nextStep(firstSteps(facts))).toBeNull();
});
