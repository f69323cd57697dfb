import { describe, expect, test } from "vitest";

import {
  applies,
  changes,
  choose,
  copyName,
  differs,
  EMPTY_DRAFT,
  fromRequest,
  grouped,
  matches,
  missing,
  reset,
  suggestName,
  toRequest,
  valueOf,
  withStage,
  type Draft,
  type Field,
  type TrainForm,
} from "./form";
import { shares } from "./core/shares";

function field(path: string, more: Partial<Field> = {}): Field {
  return {
    path,
    label: path,
    kind: "integer",
    description: "",
    group: "basics",
    optional: false,
    default: 1,
    stages: [2, 3],
    advanced: false,
    ...more,
  };
}

const STEPS = field("steps", { default: 1000 });
const CHUNK = field("chunk_size", { default: null, optional: true, stages: [2] });
const LORA = field("lora", { kind: "boolean", default: false });
const RANK = field("lora.rank", { default: 64, requires: "lora" });
const BETAS = field("optim.betas", { kind: "numbers", default: [0.9, 0.95], group: "optimisation", advanced: true });
const FORM: TrainForm = {
  fields: [STEPS, CHUNK, LORA, RANK, BETAS],
  groups: ["basics", "data", "model", "optimisation", "memory", "validation", "saving"],
  stages: [2, 3],
  presets: [
    { name: "tiny", title: "", description: "", values: { 2: { steps: 200, chunk_size: 20 }, 3: { steps: 200 } } },
    { name: "divla", title: "", description: "", values: { 2: { lora: true, "lora.rank": 32 }, 3: { lora: true } } },
    { name: "two", title: "", description: "", values: { 2: { steps: 5 } } },
  ],
};

describe("a value", () => {
  test("is the person's, else the preset's, else the default", () => {
    expect(valueOf(FORM, { ...EMPTY_DRAFT, preset: null }, STEPS)).toBe(1000);
    expect(valueOf(FORM, EMPTY_DRAFT, STEPS)).toBe(200);
    expect(valueOf(FORM, choose(FORM, EMPTY_DRAFT, STEPS, 50), STEPS)).toBe(50);
  });

  test("that is the preset's own is no difference, and follows the preset from then on", () => {
    const chosen = choose(FORM, choose(FORM, EMPTY_DRAFT, STEPS, 50), STEPS, 200);
    expect(chosen.own).toEqual({});
    expect(valueOf(FORM, { ...chosen, preset: "divla" }, STEPS)).toBe(1000);
  });

  test("in a list differs where one of its numbers does", () => {
    expect(differs(FORM, choose(FORM, EMPTY_DRAFT, BETAS, [0.9, 0.95]), BETAS)).toBe(false);
    expect(differs(FORM, choose(FORM, EMPTY_DRAFT, BETAS, [0.9, 0.98]), BETAS)).toBe(true);
  });

  test("goes back to the preset's", () => {
    const chosen = choose(FORM, choose(FORM, EMPTY_DRAFT, STEPS, 50), BETAS, [0, 0]);
    expect(valueOf(FORM, reset(chosen, "steps"), STEPS)).toBe(200);
    expect(reset(chosen, "steps").own).toHaveProperty(["optim.betas"]);
    expect(reset(chosen).own).toEqual({});
  });
});

describe("a switch of preset or stage", () => {
  const mine = choose(FORM, choose(FORM, EMPTY_DRAFT, STEPS, 50), CHUNK, 10);

  test("keeps what the person chose", () => {
    const other = { ...mine, preset: "divla" };
    expect(valueOf(FORM, other, STEPS)).toBe(50);
  });

  test("leaves out of the request what the stage has no field for, and brings it back", () => {
    const third = withStage(FORM, mine, 3);
    expect(toRequest(FORM, third, "run").fields).toEqual({ steps: 50 });
    expect(toRequest(FORM, withStage(FORM, third, 2), "run").fields).toEqual({ steps: 50, chunk_size: 10 });
  });

  test("to a stage that the preset does not know takes the first preset", () => {
    expect(withStage(FORM, { ...mine, preset: "two" }, 3).preset).toBe("tiny");
    expect(withStage(FORM, { ...mine, preset: null }, 3).preset).toBe(null);
  });

  test("of stage forgets where the run starts from", () => {
    const third = withStage(FORM, { ...mine, base_model_id: "m", expert_id: "e" }, 3);
    expect([third.base_model_id, third.expert_id]).toEqual([null, null]);
  });
});

describe("fields behind a switch", () => {
  test("count only while it is on, whoever switched it on", () => {
    const ranked: Draft = { ...EMPTY_DRAFT, own: { "lora.rank": 8 } };
    expect(applies(FORM, ranked, RANK)).toBe(false);
    expect(toRequest(FORM, ranked, "run").fields).toEqual({});
    expect(toRequest(FORM, choose(FORM, ranked, LORA, true), "run").fields).toEqual({ lora: true, "lora.rank": 8 });
    expect(toRequest(FORM, { ...ranked, preset: "divla" }, "run").fields).toEqual({ "lora.rank": 8 });
    expect(toRequest(FORM, choose(FORM, { ...ranked, preset: "divla" }, LORA, false), "run").fields).toEqual({
      lora: false,
    });
  });
});

test("a request makes the same draft again, under another name", () => {
  const draft: Draft = {
    ...EMPTY_DRAFT,
    sources: [{ version_id: "v", weight: 2 }],
    base_model_id: "m",
    own: { steps: 7 },
  };
  const again = fromRequest(toRequest(FORM, draft, "pick"));
  expect(again).toEqual({ ...draft, name: "pick-2" });
  expect(changes(FORM, again)).toEqual([STEPS]);
});

test("copies count up and stay within the length of a name", () => {
  expect(copyName("pick-9")).toBe("pick-10");
  expect(copyName("x".repeat(64))).toHaveLength(64);
});

test("a suggested name has only letters that a name may have", () => {
  expect(suggestName("Demo: transfer the cube", 2)).toBe("demo-transfer-the-cube-stage2");
  expect(suggestName("Würfel!", 3)).toBe("wurfel-stage3");
  expect(missing(EMPTY_DRAFT, suggestName("(...)", 3)).name).toBeUndefined();
});

test("what is missing is said by field", () => {
  expect(Object.keys(missing(EMPTY_DRAFT, ""))).toEqual(["name", "sources", "base_model_id"]);
  expect(Object.keys(missing({ ...EMPTY_DRAFT, stage: 3 }, "-a"))).toEqual(["name", "sources", "checkpoint_id"]);
  expect(Object.keys(missing({ ...EMPTY_DRAFT, stage: 3, base_model_id: "policy" }, "a"))).toEqual(["sources"]);
});

test("weights become shares", () => {
  expect(shares([1, 3])).toEqual([0.25, 0.75]);
  expect(shares([])).toEqual([]);
  expect(shares([0])).toEqual([0]);
});

test("groups come in the order of the form, and search looks at every word", () => {
  expect(grouped(FORM, [BETAS, STEPS]).map(([name]) => name)).toEqual(["basics", "optimisation"]);
  expect(matches({ ...BETAS, label: "AdamW betas" }, "adam optim")).toBe(true);
  expect(matches(BETAS, "adam vision")).toBe(false);
  expect(matches(BETAS, "")).toBe(true);
});
