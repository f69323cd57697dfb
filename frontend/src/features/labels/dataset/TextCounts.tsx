import { Anchor, Badge, Group, Text } from "@mantine/core";
import { Link } from "react-router";

import { LabelDot } from "@/features/labels/core/LabelDot";
import { DataTable, type Column } from "@/ui/DataTable";
import { formatCount, formatSeconds } from "@/ui/format";

import { findAddress } from "./filters";
import type { Coverage } from "@/features/labels/core/hooks";

type Count = Coverage["labels"][number];

/** Each text with how often it is used and how long it is. fps: steps a second. */
export function TextCounts({ datasetId, labels, fps }: { datasetId: string; labels: readonly Count[]; fps: number }) {
  const places = new Map(labels.filter(({ in_vocabulary }) => in_vocabulary).map(({ text }, index) => [text, index]));
  const columns: Column<Count>[] = [
    {
      key: "text",
      header: "Text",
      sort: ({ text }) => text,
      cell: ({ text, in_vocabulary }) => (
        <Group gap="xs" wrap="nowrap">
          <LabelDot index={places.get(text) ?? -1} />
          <Anchor component={Link} to={findAddress(datasetId, { text })} size="sm" style={{ overflowWrap: "anywhere" }}>
            {text}
          </Anchor>
          {!in_vocabulary && <Badge color="yellow">not in the vocabulary</Badge>}
        </Group>
      ),
    },
    number("segments", "Substeps", ({ segments }) => segments),
    number("episodes", "Episodes", ({ episodes }) => episodes),
    number("steps", "Steps", ({ steps }) => steps),
    {
      key: "median",
      header: "Median length",
      align: "right",
      sort: ({ median_steps }) => median_steps,
      cell: ({ median_steps, segments }) => (
        <Text size="sm" c={segments === 0 ? "dimmed" : undefined}>
          {segments === 0 ? "not used" : formatSeconds(median_steps / fps)}
        </Text>
      ),
    },
  ];
  if (labels.length === 0)
    return (
      <Text size="sm" c="dimmed">
        No text yet: label an episode, or put a vocabulary together.
      </Text>
    );
  return (
    <DataTable
      label="Texts"
      rows={labels}
      columns={columns}
      rowKey={({ text }) => text}
      rowTestId="text-count"
      minWidth={620}
    />
  );
}

function number(key: string, header: string, of: (count: Count) => number): Column<Count> {
  return { key, header, align: "right", sort: of, cell: (count) => <Text size="sm">{formatCount(of(count))}</Text> };
}
