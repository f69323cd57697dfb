import type { Schema } from "@/api/client";

import { toReading } from "./fieldText";
import { same } from "./form";

type Run = Schema<"RunDetail">;

/** Nested tables as dotted paths; lists stay whole. */
export function flat(values: Record<string, unknown>, prefix = ""): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(values).flatMap(([name, value]): [string, unknown][] =>
      typeof value === "object" && value !== null && !Array.isArray(value)
        ? Object.entries(flat(value as Record<string, unknown>, `${prefix}${name}.`))
        : [[prefix + name, value]],
    ),
  );
}

export interface Difference {
  path: string;
  /** one text a run */
  values: string[];
}

/** What says where a run lies on the server; the studio's names stand for it. */
const PLACES = new Set([
  "name",
  "output_dir",
  "data",
  "init_from",
  "pretrained_expert",
  "picture_cache",
  "kept_conditions",
]);

/** Name and share of the data of a run: "Cubes v2 (75 %), Pegs v1 (25 %)". */
export function dataText(sources: readonly Schema<"SourceOut">[]): string {
  const total = sources.reduce((sum, { weight }) => sum + weight, 0);
  return sources
    .map(({ dataset_name, number, weight }) => {
      const share = sources.length > 1 && total > 0 ? ` (${Math.round((100 * weight) / total)} %)` : "";
      return `${dataset_name} v${number}${share}`;
    })
    .join(", ");
}

/** Names of runs, numbered where several have the same, so that each stands for one. */
export function distinct(names: readonly string[]): string[] {
  return names.map((name, index) => {
    const before = names.slice(0, index).filter((each) => each === name).length;
    return before === 0 ? name : `${name} (${before + 1})`;
  });
}

/** What a run started from: checkpoint, or base model and expert. */
export function startText(run: Pick<Run, "parent_name" | "base_model_name" | "expert_name">): string {
  if (run.parent_name !== null) return run.parent_name;
  return [run.base_model_name, run.expert_name].filter((name) => name !== null).join(" + ") || "unknown";
}

/** Only what the runs differ in: where they start, what they train on, and every field of their specs. */
export function differencesOf(runs: readonly Run[]): Difference[] {
  const specs = runs.map((run) => flat(run.spec));
  const paths = [...new Set(specs.flatMap((spec) => Object.keys(spec)))].filter((path) => !PLACES.has(path));
  const rows: { path: string; values: unknown[] }[] = [
    { path: "started from", values: runs.map(startText) },
    { path: "data", values: runs.map(({ sources }) => dataText(sources)) },
    { path: "program (git)", values: runs.map(({ git }) => git) },
    ...paths.map((path) => ({ path, values: specs.map((spec) => spec[path]) })),
  ];
  return rows
    .filter(({ values }) => values.some((value) => !same(value, values[0])))
    .map(({ path, values }) => ({ path, values: values.map((value) => toReading(value)) }));
}
