import { Button, Checkbox, Group, ScrollArea, Table, Text, TextInput } from "@mantine/core";

import { formatCount, plural } from "@/ui/format";

import type { Planned } from "./edits";
import { listed, numbers, rangesOf, rangesText, stepsText } from "./words";

const SHOWN = 200;
const WRONG = "Ranges such as 0-24, 154-174; leave the episode out if none is to go.";

interface Props {
  items: Planned[];
  /** several of one episode: which steps each has, instead of what is left out */
  parts: boolean;
  /** by episode: which steps go, as they were typed; undefined where that is not for people to say here */
  typed?: Record<string, string>;
  onType: (episodeId: string, text: string) => void;
  leftOut: ReadonlySet<string>;
  /** not given: all or nothing */
  onLeaveOut?: (episodeIds: readonly string[], out: boolean) => void;
}

/** What would be made, episode by episode; those that nobody wants can be left out. */
export function EditPreviewTable({ items, parts, typed, onType, leftOut, onLeaveOut }: Props) {
  if (items.length === 0) return null;
  const shown = listed(items, SHOWN);
  const some = typed !== undefined || items.some(({ dropped }) => dropped.length > 0);
  const wrong = shown.flatMap(({ problem, sources }) => (problem === null ? [] : (sources[0]?.episode_id ?? [])));
  return (
    <>
      {onLeaveOut && wrong.some((id) => !leftOut.has(id)) && wrong.length > 1 && (
        <Group>
          <Button size="xs" variant="default" onClick={() => onLeaveOut(wrong, true)}>
            Leave out all {wrong.length} that cannot be made
          </Button>
        </Group>
      )}
      <ScrollArea.Autosize mah={320} type="auto" data-testid="edit-preview">
        <Table aria-label="What would be made" stickyHeader verticalSpacing={4}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Episode</Table.Th>
              <Table.Th ta="right">Steps</Table.Th>
              <Table.Th>{parts ? "Part" : some ? "Steps that go" : "Notes"}</Table.Th>
              <Table.Th>Labels</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {shown.map((item, at) => (
              <Row
                key={at}
                item={item}
                parts={parts}
                typed={typed}
                onType={onType}
                again={at > 0 && shown[at - 1]?.sources[0]?.episode_id === item.sources[0]?.episode_id}
                leftOut={leftOut}
                onLeaveOut={onLeaveOut}
              />
            ))}
          </Table.Tbody>
        </Table>
        {items.length > shown.length && (
          <Text size="xs" c="dimmed" p="xs">
            and {formatCount(items.length - shown.length)} more
          </Text>
        )}
      </ScrollArea.Autosize>
    </>
  );
}

interface RowProps extends Omit<Props, "items"> {
  item: Planned;
  /** the one above is of the same episode */
  again: boolean;
}

function Row({ item, parts, typed, onType, again, leftOut, onLeaveOut }: RowProps) {
  const { sources, steps, steps_before, pieces, dropped, substeps, substeps_before, lost, notes, problem } = item;
  const first = sources[0];
  const own = first && typed?.[first.episode_id];
  const out = first !== undefined && leftOut.has(first.episode_id);
  return (
    <Table.Tr data-testid="edit-item" data-steps={steps} style={out ? { opacity: 0.5 } : undefined}>
      <Table.Td>
        {again ? null : first && onLeaveOut ? (
          <Checkbox
            size="xs"
            checked={!out}
            onChange={(event) => onLeaveOut([first.episode_id], !event.currentTarget.checked)}
            label={numbers(sources)}
          />
        ) : (
          numbers(sources)
        )}
      </Table.Td>
      {problem !== null && own === undefined ? (
        <Table.Td colSpan={3}>
          <Text size="sm" c="red">
            {problem}
          </Text>
        </Table.Td>
      ) : (
        <>
          <Table.Td ta="right" style={{ whiteSpace: "nowrap" }}>
            {parts || steps === steps_before
              ? formatCount(steps)
              : `${formatCount(steps_before)} → ${formatCount(steps)}`}
          </Table.Td>
          <Table.Td>
            {typed && first ? (
              <TextInput
                size="xs"
                miw={150}
                aria-label={`Steps of episode ${first.number} that go`}
                value={own ?? rangesText(dropped, dropped.length)}
                error={problem ?? (own !== undefined && rangesOf(own) === null && WRONG)}
                disabled={out}
                onChange={(event) => onType(first.episode_id, event.currentTarget.value)}
                data-testid="edit-drop"
              />
            ) : (
              <Text size="sm">{parts ? stepsText(pieces) : dropped.length === 0 ? null : stepsText(dropped)}</Text>
            )}
            {notes.map((note) => (
              <Text key={note} size="xs" c="dimmed">
                {note}
              </Text>
            ))}
          </Table.Td>
          <Table.Td>
            <Text size="sm">
              {problem !== null
                ? null
                : substeps_before === 0
                  ? "none"
                  : parts
                    ? plural(substeps, "substep")
                    : substeps === substeps_before
                      ? `${plural(substeps, "substep")} ${steps === steps_before ? "stay" : "move along"}`
                      : `${substeps_before} → ${plural(substeps, "substep")}`}
            </Text>
            {!parts && lost.length > 0 && (
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
