import { Badge } from "@mantine/core";

import { Tip } from "@/ui/Tip";

export const STAGES: Record<number, { title: string; text: string }> = {
  1: { title: "Expert alone", text: "The action expert learns on many robots, without the vision-language model." },
  2: {
    title: "Embodiment",
    text: "Joins a vision-language model and an action expert, and teaches them one robot. Needs a base model.",
  },
  3: {
    title: "Target task",
    text: "Goes on from a checkpoint of stage 2 (or 3), on the demonstrations of the task it is to do.",
  },
};

export function StageBadge({ stage }: { stage: number }) {
  return (
    <Tip label={STAGES[stage]?.text ?? `Stage ${stage}`}>
      <Badge variant="default" style={{ flexShrink: 0 }}>
        stage {stage}
      </Badge>
    </Tip>
  );
}
