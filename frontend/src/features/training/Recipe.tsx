import { Group, SegmentedControl, Stack, Text } from "@mantine/core";
import { useState } from "react";

import { Copyable } from "@/ui/Copyable";

interface Props {
  command: string;
  commandManyGpus: string;
  yaml: string;
  /** at most this high, then it scrolls */
  height?: number | string;
}

const TEXTS = {
  command: "Does the same without the studio, on the machine that has these files.",
  many: "The same on eight GPUs of one machine, with accelerate.",
  yaml: "The whole spec: save it and run dexvla train SPEC.yaml.",
};

/** The same run for a command line and as a spec file. */
export function Recipe({ command, commandManyGpus, yaml, height = 320 }: Props) {
  const [which, setWhich] = useState<keyof typeof TEXTS>("command");
  const value = { command, many: commandManyGpus, yaml }[which];
  return (
    <Stack gap={6}>
      <Group>
        <SegmentedControl
          size="xs"
          aria-label="As"
          value={which}
          onChange={(next) => setWhich(next)}
          data={[
            { value: "command", label: "Command" },
            { value: "many", label: "8 GPUs" },
            { value: "yaml", label: "Spec YAML" },
          ]}
          data-testid="recipe"
        />
      </Group>
      <Text size="xs" c="dimmed">
        {TEXTS[which]}
      </Text>
      <div style={{ maxHeight: height, overflowY: "auto" }}>
        <Copyable
          value={value}
          block
          label={which === "yaml" ? "Copy the spec" : "Copy the command"}
          data-testid={`recipe-${which}`}
        />
      </div>
    </Stack>
  );
}
