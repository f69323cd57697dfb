import type { Schema } from "@/api/client";

export type Outcome = Schema<"EpisodeOutcome">;

interface Rate {
  successes: number;
  trials: number;
  rate: number;
  low: number;
  high: number;
}

/** dexvla's ClosedLoopReport, as far as a page shows it (dexvla/spec/evaluation.py). */
export interface ClosedLoopReport {
  kind: "closed_loop";
  settings: Record<string, unknown>;
  success_rate: number;
  interval: [number, number];
  success: { successes: number; trials: number };
  held: Rate | null;
  mean_reward: number;
  max_reward: number;
  seeds_seen_in_training: number[];
  episodes: Outcome[];
}

export interface OpenLoopEpisode {
  path: string;
  held_out: boolean | null;
  steps_compared: number;
  error: number[];
  reasoning_match: number | null;
  details?: string | null;
}

/** dexvla's OpenLoopReport. error in units of the action; error_of_range in parts of the range in training. */
export interface OpenLoopReport {
  kind: "open_loop";
  action_names: string[];
  predictions: number;
  error: number[];
  error_of_range: number[];
  error_at: Record<string, number>;
  reasoning_match: number | null;
  episodes: OpenLoopEpisode[];
}

/** dexvla's OpenLoopDetails: rows of N steps, A actions each. */
export interface OpenLoopDetails {
  name?: string;
  instruction: string;
  fps: number | null;
  action_names: string[];
  steps: number[];
  predicted: number[][];
  recorded: number[][];
  reasoning: { step: number; said: string; label: string | null }[];
}

export function closedLoop(report: Record<string, unknown> | null): ClosedLoopReport | null {
  return report?.kind === "closed_loop" ? (report as unknown as ClosedLoopReport) : null;
}

export function openLoop(report: Record<string, unknown> | null): OpenLoopReport | null {
  return report?.kind === "open_loop" ? (report as unknown as OpenLoopReport) : null;
}

const Z = 1.959964; // of the 95 % interval

/** Wilson's 95 % interval of a share, as the report has it; for the episodes that are done so far. */
export function wilson(successes: number, trials: number): [number, number] {
  if (trials === 0) return [0, 1];
  const share = successes / trials;
  const square = Z * Z;
  const centre = (share + square / (2 * trials)) / (1 + square / trials);
  const half = (Z * Math.sqrt((share * (1 - share)) / trials + square / (4 * trials * trials))) / (1 + square / trials);
  return [Math.max(0, centre - half), Math.min(1, centre + half)];
}

/** A share with its 95 % interval. */
export interface Share {
  rate: number;
  interval: [number, number];
}

/** How often another object than the named one was lifted; null where no episode names one. */
export function wrongShare(outcomes: readonly Pick<Outcome, "wrong">[]): Share | null {
  const judged = outcomes.filter(({ wrong }) => typeof wrong === "boolean");
  if (judged.length === 0) return null;
  const wrong = judged.filter(({ wrong }) => wrong).length;
  return { rate: wrong / judged.length, interval: wilson(wrong, judged.length) };
}

export interface ReasoningSpan {
  start: number;
  /** first step after it */
  end: number;
  text: string;
}

/** What the policy said over the steps of an episode; what it said twice in a row is one. */
export function transcript(outcome: Pick<Outcome, "reasoning" | "steps">): ReasoningSpan[] {
  const spans: ReasoningSpan[] = [];
  for (const { step, text } of outcome.reasoning) {
    const last = spans.at(-1);
    if (last?.text === text) continue;
    if (last) last.end = step;
    spans.push({ start: step, end: outcome.steps, text });
  }
  return spans;
}

/** Index of what is said at `step`; -1 before the first. */
export function spanAt(spans: readonly ReasoningSpan[], step: number): number {
  return spans.findLastIndex(({ start }) => start <= step);
}

/** The step that a video shows. Not every step has a frame, so it follows from the share of the time. */
export function stepAt(time: number, duration: number, steps: number): number {
  if (!(duration > 0)) return 0;
  return Math.min(steps - 1, Math.max(0, Math.floor((time / duration) * steps)));
}

export function timeAt(step: number, duration: number, steps: number): number {
  // a little behind the border, so that the frame is of the step and not of the one before
  return steps > 0 ? Math.min(duration, ((step + 0.5) / steps) * duration) : 0;
}

/**
 * Steps and rows of predictions with an empty row where the replay left steps out, so that a line ends with its chunk
 * and does not run on to the next one.
 */
export function apart(
  steps: readonly number[],
  rows: readonly (readonly number[])[],
): { steps: number[]; rows: (readonly number[] | null)[] } {
  const result: { steps: number[]; rows: (readonly number[] | null)[] } = { steps: [], rows: [] };
  steps.forEach((step, index) => {
    const before = steps[index - 1];
    if (before !== undefined && step > before + 1) {
      result.steps.push(before + 1);
      result.rows.push(null);
    }
    result.steps.push(step);
    result.rows.push(rows[index] ?? null);
  });
  return result;
}

/** Column `index` of rows; null where there is no row. */
export function column(rows: readonly (readonly number[] | null)[], index: number): (number | null)[] {
  return rows.map((row) => row?.[index] ?? null);
}

/** Whether the generated substep is the labelled one; null where the step has no label. */
export function agrees(said: string, label: string | null): boolean | null {
  return label === null ? null : said.trim() === label.trim();
}

/** Mean of error_of_range, as the list of evaluations shows it. */
export function mean(values: readonly number[]): number {
  return values.length === 0 ? NaN : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** "1000 to 1009". */
export function seedsText(first: number, episodes: number): string {
  return episodes === 1 ? String(first) : `${first} to ${first + episodes - 1}`;
}

/** "seeds 3, 5 and 7", shortened after a few. */
export function listed(numbers: readonly number[], most = 8): string {
  if (numbers.length > most) return `${numbers.slice(0, most).join(", ")} and ${numbers.length - most} more`;
  return numbers.length < 2 ? numbers.join("") : `${numbers.slice(0, -1).join(", ")} and ${numbers.at(-1) ?? ""}`;
}

export interface Pairing {
  seed: number;
  first: Outcome;
  second: Outcome;
}

/** Episodes of the same seed in two evaluations. */
export function paired(first: readonly Outcome[], second: readonly Outcome[]): Pairing[] {
  return first.flatMap((one) => {
    const other = second.find(({ seed }) => seed === one.seed);
    return other ? [{ seed: one.seed, first: one, second: other }] : [];
  });
}
