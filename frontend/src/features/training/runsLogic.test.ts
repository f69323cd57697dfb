import { expect, test } from "vitest";

import type { Run } from "./hooks";
import { cancellable, resumable } from "./runsLogic";

function run(name: string, state: string, more: Partial<Run> = {}): Run {
  return {
    id: name,
    name,
    stage: 2,
    preset: "tiny",
    sources: [],
    parent_name: null,
    base_model_name: "Qwen",
    expert_name: null,
    created_by_name: "ada",
    job: { state } as Run["job"],
    ...more,
  } as Run;
}

const RUNS = [run("a", "done"), run("b", "running"), run("c", "failed", { stage: 3 }), run("d", "queued")];
const names = (runs: Run[]) => runs.map(({ name }) => name).join("");

test("bulk actions are for those that they mean something for", () => {
  expect(names(cancellable(RUNS))).toBe("bd");
  expect(names(resumable(RUNS))).toBe("c");
});
