import { isOver } from "@/ui/StateBadge";

import { dataText, startText } from "./compare";
import type { Run } from "./hooks";

/** Runs that are not over first; within both the server's order, newest first. */
export function activeFirst(runs: readonly Run[]): Run[] {
  return [...runs].sort((a, b) => Number(isOver(a.job.state)) - Number(isOver(b.job.state)));
}

export type Show = "all" | "active" | "done" | "broken";

const SHOWN: Record<Show, (run: Run) => boolean> = {
  all: () => true,
  active: ({ job }) => !isOver(job.state),
  done: ({ job }) => job.state === "done",
  broken: ({ job }) => job.state === "failed" || job.state === "cancelled",
};

/** Runs of a kind in which every word of `words` occurs, in whatever the table shows as text. */
export function filtered(runs: readonly Run[], show: Show, stage: number | null, words: string): Run[] {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  return runs.filter((run) => {
    if (!SHOWN[show](run) || (stage !== null && run.stage !== stage)) return false;
    const text = [run.name, run.preset, dataText(run.sources), startText(run), run.created_by_name, run.job.state]
      .join(" ")
      .toLowerCase();
    return wanted.every((word) => text.includes(word));
  });
}

/** Of the chosen runs, which a bulk action is for. */
export function cancellable(runs: readonly Run[]): Run[] {
  return runs.filter(({ job }) => job.state === "queued" || job.state === "running");
}

export function resumable(runs: readonly Run[]): Run[] {
  return runs.filter(({ job }) => job.state === "failed" || job.state === "cancelled");
}
