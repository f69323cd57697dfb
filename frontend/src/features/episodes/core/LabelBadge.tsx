import { Badge } from "@mantine/core";

import type { Schema } from "@/api/client";
import { Tip } from "@/ui/Tip";

const STATES: Record<Schema<"LabelState">, { color: string; label: string; help: string }> = {
  unlabelled: { color: "gray", label: "unlabelled", help: "No substeps were saved yet." },
  draft: {
    color: "yellow",
    label: "draft",
    help: "Substeps were edited and not published since: training does not see them.",
  },
  published: {
    color: "teal",
    label: "published",
    help: "Its substeps are published: the next dataset version includes them.",
  },
};

export function LabelBadge({ state }: { state: Schema<"LabelState"> }) {
  const { color, label, help } = STATES[state];
  return (
    <Tip label={help}>
      <Badge color={color} data-testid="label-state" data-state={state} style={{ flexShrink: 0 }}>
        {label}
      </Badge>
    </Tip>
  );
}

/** Whether the robot did it. */
export function Outcome({ success }: { success: boolean | null }) {
  if (success === null) return null;
  return <Badge color={success ? "teal" : "red"}>{success ? "success" : "failure"}</Badge>;
}
