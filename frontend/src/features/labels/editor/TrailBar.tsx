import { Anchor, Button, Group, Paper, Text, Tooltip } from "@mantine/core";
import { IconChevronLeft, IconChevronRight } from "@tabler/icons-react";
import { Link } from "react-router";

import type { OnTrail } from "./useTrail";

const WORDS = { work: "Work", hits: "Hit", review: "Review" } as const;

/** Above the annotator, when it was opened from a list: at which of its places one is, and the way along it. */
export function TrailBar({ on, go }: { on: OnTrail | null; go: (direction: 1 | -1) => void }) {
  if (!on) return null;
  const { trail, at } = on;
  return (
    <Paper
      withBorder
      component="nav"
      px="xs"
      py={2}
      mb={6}
      aria-label={trail.title}
      data-testid="trail"
      data-at={at}
      data-count={trail.stops.length}
    >
      <Group gap="xs" wrap="nowrap">
        <Text size="sm" fw={600} style={{ whiteSpace: "nowrap" }}>
          {WORDS[trail.kind]} {at + 1} of {trail.stops.length}
        </Text>
        <Anchor
          component={Link}
          to={trail.from}
          size="sm"
          truncate
          style={{ flex: 1, minWidth: 0 }}
          data-testid="trail-from"
        >
          {trail.title}
        </Anchor>
        <Tooltip label="Shift+P">
          <Button
            size="compact-xs"
            variant="default"
            leftSection={<IconChevronLeft size={14} />}
            disabled={at === 0}
            onClick={() => go(-1)}
            data-testid="trail-previous"
          >
            Previous
          </Button>
        </Tooltip>
        <Tooltip label="Shift+N">
          <Button
            size="compact-xs"
            variant="default"
            rightSection={<IconChevronRight size={14} />}
            disabled={trail.kind === "hits" && at === trail.stops.length - 1}
            onClick={() => go(1)}
            data-testid="trail-next"
          >
            {trail.kind !== "hits" && at === trail.stops.length - 1 ? "To the list" : "Next"}
          </Button>
        </Tooltip>
      </Group>
    </Paper>
  );
}
