import { Badge, Tooltip } from "@mantine/core";

import type { WorkState } from "./hooks";

export const WORK_STATES: Record<WorkState, { color: string; label: string; help: string }> = {
  unassigned: { color: "gray", label: "unassigned", help: "Nobody has it yet." },
  claimed: { color: "studio", label: "to do", help: "Given to somebody, and nothing was saved yet." },
  in_progress: { color: "yellow", label: "in progress", help: "Somebody began to label it." },
  submitted: { color: "violet", label: "submitted", help: "Submitted, to be reviewed." },
  approved: { color: "teal", label: "approved", help: "Somebody else looked at it and agrees." },
  rejected: { color: "red", label: "rejected", help: "Sent back with a comment; to be corrected and submitted again." },
  reopened: { color: "orange", label: "reopened", help: "Was submitted and is worked on again." },
};

export function WorkBadge({ state }: { state: WorkState }) {
  const { color, label, help } = WORK_STATES[state];
  return (
    <Tooltip label={help}>
      <Badge color={color} data-testid="work-state" data-state={state}>
        {label}
      </Badge>
    </Tooltip>
  );
}
