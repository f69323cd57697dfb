import { Group, Kbd, Text } from "@mantine/core";

import { LabelDot } from "@/features/labels/core/LabelDot";
import { plural } from "@/ui/format";

import { Examples } from "@/features/labels/core/Examples";
import type { Entry } from "@/features/labels/core/hooks";
import classes from "@/features/labels/core/labelling.module.css";

/** The entries with what they mean, to read. */
export function GuidelineList({ entries, cameras }: { entries: readonly Entry[]; cameras: readonly string[] }) {
  return (
    <div>
      {entries.map(({ text, digit, description, examples, segments }, index) => (
        <div key={text} className={classes.guide} data-testid="guideline-entry" data-text={text}>
          <span>{digit !== null && <Kbd>{digit}</Kbd>}</span>
          <div style={{ minWidth: 0 }}>
            <Group gap="xs" wrap="nowrap">
              <LabelDot index={index} />
              <Text fw={600} size="sm" style={{ overflowWrap: "anywhere" }}>
                {text}
              </Text>
            </Group>
            <Text size="sm" my={4} className={classes.meaning} c={description ? undefined : "dimmed"}>
              {description || "Nothing is written about it yet."}
            </Text>
            <Examples text={text} examples={examples} cameras={cameras} />
          </div>
          <Text size="xs" c="dimmed" style={{ whiteSpace: "nowrap" }}>
            {plural(segments, "substep")}
          </Text>
        </div>
      ))}
    </div>
  );
}
