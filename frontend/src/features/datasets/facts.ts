import { formatCount, formatSeconds, plural } from "@/ui/format";

import type { Dataset } from "./core/hooks";

/** "400 steps, 8.0 s"; without the time where the rate is unknown. */
export function lengthText(steps: number, fps: number | null): string {
  const count = plural(steps, "step");
  return fps ? `${count}, ${formatSeconds(steps / fps)}` : count;
}

/** Share of the episodes that are labelled, 0 .. 1. */
export function labelledShare({ labelled, episodes }: Pick<Dataset, "labelled" | "episodes">): number {
  return episodes > 0 ? labelled / episodes : 0;
}

/** "3 of 5 labelled", "all 5 labelled". */
export function labelledText({
  labelled,
  episodes,
  drafts,
}: Pick<Dataset, "labelled" | "episodes" | "drafts">): string {
  if (episodes === 0) return "no episodes yet";
  const counted =
    labelled === episodes
      ? `all ${formatCount(episodes)} labelled`
      : `${formatCount(labelled)} of ${formatCount(episodes)} labelled`;
  return drafts > 0 ? `${counted}, ${plural(drafts, "draft")}` : counted;
}
