import type { Schema } from "@/api/client";

import { formatCount, formatEstimate } from "./format";

type Job = Schema<"JobOut">;

/** What a job counts, by kind. */
const UNITS: Record<Schema<"JobKind">, string> = {
  record: "episodes",
  import: "files",
  measure: "episodes",
  init_model: "parts",
  preflight: "checks",
  train: "steps",
  evaluate: "episodes",
  export: "episodes",
  edit: "episodes",
};

export const KINDS: Record<Schema<"JobKind">, string> = {
  record: "Recording",
  import: "Import",
  measure: "Survey",
  init_model: "Model",
  preflight: "Preflight",
  train: "Training",
  evaluate: "Evaluation",
  export: "Export",
  edit: "Edit",
};

/** Share done, 0 .. 100; null where the job does not say how much there is. */
export function percentDone(job: Pick<Job, "done" | "total" | "state">): number | null {
  if (job.state === "done") return 100;
  if (job.total === null || job.total <= 0) return null;
  return Math.min(100, Math.max(0, (100 * job.done) / job.total));
}

/** "12 of 50 steps", "12 steps"; "" while there is nothing to count. */
export function countText(job: Pick<Job, "kind" | "done" | "total">): string {
  const unit = UNITS[job.kind];
  if (job.total !== null) return `${formatCount(job.done)} of ${formatCount(job.total)} ${unit}`;
  return job.done > 0 ? `${formatCount(job.done)} ${unit}` : "";
}

/** What the person waits for: the place in the queue, the time left, or nothing. `workers`: undefined if unknown. */
export function waitText(job: Pick<Job, "state" | "queue_position" | "seconds_left">, workers?: number): string {
  if (job.state === "queued") {
    if (workers === 0) return "waits: no worker is running";
    if (job.queue_position === 1) return "next in the queue";
    return job.queue_position ? `number ${job.queue_position} in the queue` : "waits for a worker";
  }
  if (job.state === "running" && job.seconds_left !== null && job.seconds_left !== undefined)
    return `${formatEstimate(job.seconds_left)} left`;
  return "";
}
