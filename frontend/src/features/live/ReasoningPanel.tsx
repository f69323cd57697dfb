import { Button, Group, Popover, ScrollArea, Text } from "@mantine/core";
import { IconHistory } from "@tabler/icons-react";

import { formatCount, plural } from "@/ui/format";

import { useLive, useNow } from "./hooks";
import classes from "./live.module.css";

/** What the policy says it does, as it is written, and what it said before. */
export function ReasoningPanel() {
  const reasoning = useNow(({ policy }) => policy?.reasoning ?? null);
  const policy = useNow(({ policy }) => policy !== null);
  const reasonings = useLive((live) => live.reasonings);
  const first = reasonings[0]?.step ?? reasoning?.step ?? 0; // a robot host counts from its own start
  return (
    <section className={`${classes.panel ?? ""} ${classes.reasoning ?? ""}`} aria-label="Reasoning">
      <Group justify="space-between" wrap="nowrap" gap="sm">
        <Text size="xs" c="dimmed">
          {reasoning ? `Reasoning at step ${formatCount(reasoning.step - first)}` : "Reasoning"}
        </Text>
        {reasonings.length > 0 && (
          <Popover position="top-end" width={420} shadow="md">
            <Popover.Target>
              <Button
                variant="subtle"
                color="gray"
                size="compact-xs"
                leftSection={<IconHistory size={14} />}
                data-testid="live-history"
              >
                {plural(reasonings.length, "change")}
              </Button>
            </Popover.Target>
            <Popover.Dropdown p="xs">
              <ScrollArea.Autosize mah={320}>
                {[...reasonings].reverse().map(({ step, text }) => (
                  <Group key={`${step} ${text}`} wrap="nowrap" align="baseline" gap="sm" data-testid="live-said">
                    <Text size="xs" c="dimmed" miw={60} ta="right" style={{ fontVariantNumeric: "tabular-nums" }}>
                      {formatCount(step - first)}
                    </Text>
                    <Text size="sm">{text}</Text>
                  </Group>
                ))}
              </ScrollArea.Autosize>
            </Popover.Dropdown>
          </Popover>
        )}
      </Group>
      <div
        className={classes.said}
        data-testid="live-reasoning"
        data-step={reasoning?.step}
        data-writing={reasoning?.done === false || undefined}
        title={reasoning?.text}
      >
        {reasoning && reasoning.text !== "" ? (
          reasoning.text
        ) : (
          <Text span c="dimmed" fw={400}>
            {policy ? "Nothing said yet" : "No policy acts"}
          </Text>
        )}
      </div>
    </section>
  );
}
