import { Badge } from "@mantine/core";

import type { Schema } from "@/api/client";

import { Tip } from "./Tip";

type JobState = Schema<"JobState">;

const STATES: Record<JobState, { color: string; label: string; help: string }> = {
  queued: { color: "gray", label: "queued", help: "Waits for a free worker." },
  running: { color: "studio", label: "running", help: "A worker is doing it." },
  cancelling: { color: "orange", label: "cancelling", help: "Asked to stop; cleaning up." },
  done: { color: "teal", label: "done", help: "Finished." },
  failed: { color: "red", label: "failed", help: "Stopped by an error." },
  cancelled: { color: "gray", label: "cancelled", help: "Was stopped by a person; it can be resumed." },
};

interface Props {
  state: JobState;
  /** why it is in this state */
  cause?: string | null;
  size?: string;
}

export function StateBadge({ state, cause, size = "sm" }: Props) {
  const { color, label, help } = STATES[state];
  return (
    <Tip label={cause ?? help}>
      <Badge color={color} size={size} data-testid="job-state" data-state={state} style={{ flexShrink: 0 }}>
        {label}
      </Badge>
    </Tip>
  );
}

/** No further change comes by itself. */
export function isOver(state: JobState): boolean {
  return state === "done" || state === "failed" || state === "cancelled";
}
