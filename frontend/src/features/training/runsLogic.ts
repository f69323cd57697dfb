import type { Schema } from "@/api/client";

import type { Run } from "./hooks";

export const SHOWS = ["all", "active", "done", "broken"] as const;
export type Show = (typeof SHOWS)[number];

/** What the server is asked for a choice. */
export const ASKED: Record<Show, { over?: false; state?: Schema<"JobState">[] }> = {
  all: {},
  active: { over: false },
  done: { state: ["done"] },
  broken: { state: ["failed", "cancelled"] },
};

/** Of the chosen runs, which a bulk action is for. */
export function cancellable(runs: readonly Run[]): Run[] {
  return runs.filter(({ job }) => job.state === "queued" || job.state === "running");
}

export function resumable(runs: readonly Run[]): Run[] {
  return runs.filter(({ job }) => job.state === "failed" || job.state === "cancelled");
}
