import { Checkbox, ScrollArea, Table, Text } from "@mantine/core";

import { formatCount, plural } from "@/ui/format";

import type { Planned } from "./edits";
import { numbers, rangesText } from "./words";

const SHOWN = 200;

interface Props {
  items: Planned[];
  leftOut: ReadonlySet<string>;
  /** not given: all or nothing */
  onLeaveOut?: (episodeId: string, out: boolean) => void;
}

/** What would be made, episode by episode; those that nobody wants can be left out. */
export function EditPreviewTable({ items, leftOut, onLeaveOut }: Props) {
  if (items.length === 0) return null;
  return (
    <ScrollArea.Autosize mah={320} type="auto" data-testid="edit-preview">
      <Table aria-label="What would be made" stickyHeader verticalSpacing={4}>
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Episode</Table.Th>
            <Table.Th ta="right">Steps</Table.Th>
            <Table.Th>Left out</Table.Th>
            <Table.Th>Labels</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {items.slice(0, SHOWN).map((item, at) => (
            <Row key={at} item={item} leftOut={leftOut} onLeaveOut={onLeaveOut} />
          ))}
        </Table.Tbody>
      </Table>
      {items.length > SHOWN && (
        <Text size="xs" c="dimmed" p="xs">
          and {formatCount(items.length - SHOWN)} more
        </Text>
      )}
    </ScrollArea.Autosize>
  );
}

function Row({ item, leftOut, onLeaveOut }: Omit<Props, "items"> & { item: Planned }) {
  const { sources, steps, steps_before, dropped, substeps, substeps_before, lost, notes, problem } = item;
  const first = sources[0];
  const out = first !== undefined && leftOut.has(first.episode_id);
  return (
    <Table.Tr data-testid="edit-item" data-steps={steps} style={out ? { opacity: 0.5 } : undefined}>
      <Table.Td>
        {first && onLeaveOut ? (
          <Checkbox
            size="xs"
            checked={!out}
            onChange={(event) => onLeaveOut(first.episode_id, !event.currentTarget.checked)}
            label={numbers(sources)}
          />
        ) : (
          numbers(sources)
        )}
      </Table.Td>
      {problem !== null ? (
        <Table.Td colSpan={3}>
          <Text size="sm" c="red">
            {problem}
          </Text>
        </Table.Td>
      ) : (
        <>
          <Table.Td ta="right" style={{ whiteSpace: "nowrap" }}>
            {steps === steps_before ? formatCount(steps) : `${formatCount(steps_before)} → ${formatCount(steps)}`}
          </Table.Td>
          <Table.Td>
            <Text size="sm">{dropped.length === 0 ? "nothing" : `steps ${rangesText(dropped)}`}</Text>
            {notes.map((note) => (
              <Text key={note} size="xs" c="dimmed">
                {note}
              </Text>
            ))}
          </Table.Td>
          <Table.Td>
            <Text size="sm">
              {substeps_before === 0
                ? "none"
                : substeps === substeps_before
                  ? `${plural(substeps, "substep")} ${steps === steps_before ? "stay" : "move along"}`
                  : `${substeps_before} → ${plural(substeps, "substep")}`}
            </Text>
            {lost.length > 0 && (
              <Text size="xs" c="dimmed">
                gone: {lost.slice(0, 3).join(", ")}
                {lost.length > 3 && ` and ${lost.length - 3} more`}
              </Text>
            )}
          </Table.Td>
        </>
      )}
    </Table.Tr>
  );
}
