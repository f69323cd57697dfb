import { Button, Group, Modal, ScrollArea, SegmentedControl, Stack, Table, Text } from "@mantine/core";
import { useMemo, useState, type CSSProperties } from "react";

import { plural } from "@/ui/format";

import classes from "./annotate.module.css";
import { differences, merged, type Side } from "./conflict";
import { entryIndex, useAnnotator } from "./context";
import { contentOf, type Content, type Draft } from "./editor";
import { LabelDot } from "@/features/labels/core/LabelDot";
import { OtherLanes } from "./Lanes";
import { whole } from "./view";

interface Props {
  opened: boolean;
  onClose: () => void;
  mine: Draft;
  theirs: Draft;
  /** whose `mine` is, as it is called here */
  here?: string;
  /** whose `theirs` is */
  by: string | null;
  /** what came out; false: it could not be kept */
  keep: (content: Content) => Promise<boolean>;
}

/** Two people's labels, one under the other; each difference is taken from one of them. */
export function ConflictDialog({ opened, onClose, ...sides }: Props) {
  return (
    <Modal
      opened={opened}
      onClose={onClose}
      size="min(92vw, 1100px)"
      title={`${sides.here ?? "Yours"} and ${sides.by ?? "theirs"}, side by side`}
      data-testid="conflict-dialog"
    >
      <Compare {...sides} onClose={onClose} />
    </Modal>
  );
}

function Compare({ mine, theirs, here = "Yours", by, keep, onClose }: Omit<Props, "opened">) {
  const { episode, playback } = useAnnotator();
  const found = useMemo(() => differences(mine.segments, theirs.segments), [mine, theirs]);
  const [sides, setSides] = useState<ReadonlyMap<number, Side>>(new Map());
  const [words, setWords] = useState<Side>("mine");
  const [outcome, setOutcome] = useState<Side>("mine");
  const sideOf = (start: number): Side => sides.get(start) ?? "mine";
  const name = by ?? "theirs";
  const result = useMemo(
    () => merged(mine.segments, theirs.segments, ({ start }) => sides.get(start) ?? "mine"),
    [mine, theirs, sides],
  );
  const choose = (side: Side) => {
    setSides(new Map(found.map(({ start }) => [start, side])));
    setWords(side);
    setOutcome(side);
  };
  const finish = async () => {
    const { instruction, paraphrases } = words === "mine" ? mine : theirs;
    const draft: Draft = { ...(outcome === "mine" ? mine : theirs), segments: result, instruction, paraphrases };
    if (await keep(contentOf(episode.steps, draft))) onClose();
  };
  const control = (value: Side, onChange: (side: Side) => void, label: string) => (
    <SegmentedControl
      size="xs"
      value={value}
      onChange={(side) => onChange(side)}
      data={[
        { value: "mine", label: here },
        { value: "theirs", label: name },
      ]}
      aria-label={label}
      data-testid="conflict-side"
    />
  );
  return (
    <Stack gap="sm">
      <div className={classes.timeline} style={{ "--gutter": "110px" } as CSSProperties}>
        <OtherLanes
          view={whole(episode.steps)}
          others={[
            { name: here, segments: mine.segments },
            { name, segments: theirs.segments },
            { name: "Result", segments: result },
          ]}
        />
      </div>
      <Group justify="space-between">
        <Text size="sm">
          {found.length === 0 ? "The substeps are the same." : `${plural(found.length, "difference")} in the substeps.`}
        </Text>
        <Group gap="xs">
          <Button size="compact-sm" variant="default" onClick={() => choose("mine")}>
            {here === "Yours" ? "All yours" : `All of ${here}`}
          </Button>
          <Button
            size="compact-sm"
            variant="default"
            onClick={() => choose("theirs")}
            data-testid="conflict-all-theirs"
          >
            All of {name}
          </Button>
        </Group>
      </Group>
      <ScrollArea.Autosize mah="46vh" viewportProps={{ tabIndex: 0, "aria-label": "Differences" }}>
        <Table stickyHeader>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Steps</Table.Th>
              <Table.Th>{here}</Table.Th>
              <Table.Th>{name}</Table.Th>
              <Table.Th>Take</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {found.map(({ start, end, mine: left, theirs: right }) => (
              <Table.Tr key={start} data-testid="conflict-difference">
                <Table.Td>
                  <Button size="compact-xs" variant="subtle" onClick={() => playback.player.seek(start)}>
                    {start} to {end - 1}
                  </Button>
                </Table.Td>
                <Table.Td>
                  <Said text={left} />
                </Table.Td>
                <Table.Td>
                  <Said text={right} />
                </Table.Td>
                <Table.Td>
                  {control(
                    sideOf(start),
                    (side) => setSides(new Map([...sides, [start, side]])),
                    `Steps ${start} to ${end - 1}`,
                  )}
                </Table.Td>
              </Table.Tr>
            ))}
            {wordsOf(mine) !== wordsOf(theirs) && (
              <Table.Tr>
                <Table.Td>Instruction</Table.Td>
                <Table.Td>{wordsOf(mine)}</Table.Td>
                <Table.Td>{wordsOf(theirs)}</Table.Td>
                <Table.Td>{control(words, setWords, "Instruction")}</Table.Td>
              </Table.Tr>
            )}
            {outcomeOf(mine) !== outcomeOf(theirs) && (
              <Table.Tr>
                <Table.Td>Outcome</Table.Td>
                <Table.Td>{outcomeOf(mine)}</Table.Td>
                <Table.Td>{outcomeOf(theirs)}</Table.Td>
                <Table.Td>{control(outcome, setOutcome, "Outcome")}</Table.Td>
              </Table.Tr>
            )}
          </Table.Tbody>
        </Table>
      </ScrollArea.Autosize>
      <Group justify="flex-end" gap="xs">
        <Text size="xs" c="dimmed">
          Undo brings back what stood here before.
        </Text>
        <Button variant="default" onClick={onClose}>
          Decide later
        </Button>
        <Button onClick={() => void finish()} data-testid="conflict-keep">
          Save the result
        </Button>
      </Group>
    </Stack>
  );
}

function Said({ text }: { text: string }) {
  const { entries } = useAnnotator();
  return (
    <Group gap={6} wrap="nowrap">
      <LabelDot index={entryIndex(entries, text)} />
      <Text size="sm" c={text === "" ? "dimmed" : undefined}>
        {text || "no text"}
      </Text>
    </Group>
  );
}

/** The instruction with its other wordings. */
function wordsOf({ instruction, paraphrases }: Draft): string {
  return [instruction, ...paraphrases].join(" / ");
}

/** Outcome, and what else is said of the episode as a whole. */
function outcomeOf({ success, failure_step, quality, tags }: Draft): string {
  const outcome = success === null ? "Unknown" : success ? "Success" : "Failure";
  const step = failure_step === null ? "" : ` at step ${failure_step}`;
  return [outcome + step, quality, ...tags].filter((part) => part !== null).join(", ");
}
