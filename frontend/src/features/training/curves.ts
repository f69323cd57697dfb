import type { Schema } from "@/api/client";

export type Curves = Schema<"MetricsOut">;
export type Values = readonly (number | null)[];

/** Points that are asked for at a time; more than this many more, and the server is asked to thin them out anew. */
export const POINTS = 1500;

/**
 * The step after which more points are needed, or 0 for all of them. `attempt` is the job's: until it has logged, what
 * is held may still be cut back to the checkpoint from which it resumes, so everything is asked for again.
 */
export function nextAfter(held: Curves | undefined, attempt: number): number {
  if (!held || held.steps.length === 0 || held.steps.length > 2 * POINTS) return 0;
  if ((held.attempts.at(-1) ?? 0) < attempt) return 0;
  return held.steps.at(-1) ?? 0;
}

/** What is held with `chunk` behind it; a curve that only one of them has is null in the other's part. */
export function extended(held: Curves, chunk: Curves): Curves {
  if (chunk.steps.length === 0) return held;
  const names = [...new Set([...Object.keys(held.values), ...Object.keys(chunk.values)])];
  const none = (count: number) => new Array<null>(count).fill(null);
  return {
    steps: [...held.steps, ...chunk.steps],
    attempts: [...held.attempts, ...chunk.attempts],
    values: Object.fromEntries(
      names.map((name) => [
        name,
        [...(held.values[name] ?? none(held.steps.length)), ...(chunk.values[name] ?? none(chunk.steps.length))],
      ]),
    ),
    total: held.total + chunk.total,
  };
}

/** First step of every attempt after the first one that logged. */
export function attemptMarks(curves: Curves): { x: number; label: string }[] {
  const { steps, attempts } = curves;
  return attempts.flatMap((attempt, index) => {
    const x = steps[index];
    return index > 0 && attempt !== attempts[index - 1] && x !== undefined ? [{ x, label: `attempt ${attempt}` }] : [];
  });
}

/**
 * Exponential moving average, `weight` 0 (none) to below 1, without the pull towards the first value (as Adam corrects
 * its means). Gaps stay gaps and count for nothing.
 */
export function smooth(values: Values, weight: number): (number | null)[] {
  if (weight <= 0) return [...values];
  let mean = 0;
  let mass = 0;
  return values.map((value) => {
    if (value === null) return null;
    mean = weight * mean + (1 - weight) * value;
    mass = weight * mass + (1 - weight);
    return mean / mass;
  });
}

/** On a logarithmic scale there is no place for what is not above 0. */
export function aboveZero(values: Values): (number | null)[] {
  return values.map((value) => (value !== null && value > 0 ? value : null));
}

export interface Line {
  name: string;
  label: string;
  /** logged rarely: drawn dashed with its points, and not smoothed */
  validation: boolean;
}

export interface Chart {
  key: string;
  title: string;
  yLabel: string;
  lines: Line[];
  /** a logarithmic scale makes sense */
  loss: boolean;
}

const LABELS: Record<string, string> = {
  loss: "loss",
  action_loss: "action loss",
  llm_loss: "reasoning loss",
  val_loss: "held-out loss",
  val_action_loss: "held-out action loss",
  val_llm_loss: "held-out reasoning loss",
  learning_rate: "learning rate",
  grad_norm: "gradient norm",
  samples_per_second: "samples per second",
  spikes: "spikes",
  skipped: "steps left out",
  val_token_accuracy: "correct tokens",
  val_reasoning_match: "reasoning matches label",
};

const CHARTS: readonly Omit<Chart, "lines">[] = [
  { key: "loss", title: "Loss", yLabel: "loss", loss: true },
  { key: "reasoning", title: "Reasoning of held-out episodes", yLabel: "share", loss: false },
  { key: "error", title: "Action error of held-out episodes", yLabel: "mean absolute error", loss: true },
  { key: "learning_rate", title: "Learning rate", yLabel: "learning rate", loss: false },
  { key: "speed", title: "Speed", yLabel: "samples / s", loss: false },
  { key: "grad_norm", title: "Gradient norm", yLabel: "norm before clipping", loss: true },
  { key: "spikes", title: "Loss or norm far above the last ones", yLabel: "steps", loss: false },
  { key: "other", title: "Other", yLabel: "", loss: false },
];

function chartOf(name: string): string {
  if (/^(val_)?(loss|action_loss|llm_loss)$/.test(name)) return "loss";
  if (name === "val_token_accuracy" || name === "val_reasoning_match") return "reasoning";
  if (name.startsWith("val_action_error_")) return "error";
  if (name === "learning_rate" || name === "grad_norm") return name;
  if (name === "samples_per_second") return "speed";
  if (name === "spikes" || name === "skipped") return "spikes";
  return "other";
}

export function labelOf(name: string): string {
  const horizon = /^val_action_error_(\d+)$/.exec(name)?.[1];
  if (horizon !== undefined) return horizon === "1" ? "1st action of a chunk" : `action ${horizon} of a chunk`;
  return LABELS[name] ?? name.replaceAll("_", " ");
}

/** Which curves are drawn together. `always`: charts that are there before anything is logged, so that nothing jumps. */
export function chartsOf(names: readonly string[], always: readonly string[] = []): Chart[] {
  const order = Object.keys(LABELS);
  const place = (name: string) => (order.includes(name) ? order.indexOf(name) : order.length);
  const lines = [...names]
    .sort((a, b) => place(a) - place(b) || a.localeCompare(b, "en", { numeric: true }))
    .map((name) => ({ name, label: labelOf(name), validation: name.startsWith("val_") }));
  return CHARTS.map((chart) => ({ ...chart, lines: lines.filter(({ name }) => chartOf(name) === chart.key) })).filter(
    ({ key, lines }) => lines.length > 0 || always.includes(key),
  );
}

/** One curve of several runs over the union of their steps. */
export function overlaid(runs: readonly (Curves | undefined)[], name: string): { x: number[]; lines: Values[] } {
  const x = [...new Set(runs.flatMap((run) => (run && name in run.values ? run.steps : [])))].sort((a, b) => a - b);
  const lines = runs.map((run) => {
    const values = run?.values[name];
    if (!run || !values) return x.map(() => null);
    const at = new Map(run.steps.map((step, index) => [step, values[index] ?? null]));
    return x.map((step) => at.get(step) ?? null);
  });
  return { x, lines };
}
