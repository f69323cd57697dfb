import { Badge, Group, Modal, ScrollArea, Select, Stack, Table, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState, type CSSProperties } from "react";

import { api, ok, type Schema } from "@/api/client";
import classes from "./annotate.module.css";
import { getRevisions } from "./api";
import { useAnnotator } from "./context";
import { OtherLanes } from "./Lanes";
import { whole } from "./view";
import { formatTime, plural } from "@/ui/format";
import { Loaded } from "@/ui/Loaded";

interface Option {
  value: string;
  label: string;
}

const KINDS: Record<Schema<"HistoryKind">, string> = {
  saved: "Saved",
  taken_over: "Taken over",
  submitted: "Submitted",
  approved: "Approved",
  rejected: "Sent back",
  reopened: "Reopened",
  published: "Published",
  renamed: "Renamed",
  template: "Template",
  imported: "Imported",
  rolled_back: "Rolled back",
  facts: "Instruction or outcome changed",
  undone: "Undone",
};
const NOW: Option = { value: "draft", label: "Now" };

/** What these labels were at any time that was kept, and what is different between two of them. */
export function HistoryDialog({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  return (
    <Modal opened={opened} onClose={onClose} size="min(92vw, 1100px)" title="History" data-testid="history">
      <Choice />
    </Modal>
  );
}

function Choice() {
  const { episode, about } = useAnnotator();
  const { tier, rater } = about;
  const path = { episode_id: episode.id };
  const states = useQuery({
    queryKey: ["episode", "history", episode.id, tier, rater, "states"],
    queryFn: async () => {
      const kept = await ok(
        api.GET("/api/episodes/{episode_id}/draft/history", { params: { path, query: { tier, rater } } }),
      );
      const published = rater === 0 ? await getRevisions(episode.id, about) : [];
      return [
        NOW,
        ...published.map(({ id, number, created_at, published_by_name }) => ({
          value: id,
          label: said(`Revision ${number}`, created_at, published_by_name),
        })),
        ...kept.map(({ id, kind, created_at, by_name }) => ({
          value: id,
          label: said(KINDS[kind], created_at, by_name),
        })),
      ];
    },
  });
  return <Loaded query={states}>{(options) => <Compared options={options} />}</Loaded>;
}

function said(what: string, at: string, by: string | null): string {
  return `${what}, ${formatTime(new Date(at))}${by === null ? "" : `, ${by}`}`;
}

function Compared({ options }: { options: Option[] }) {
  const { episode, about } = useAnnotator();
  const { tier, rater } = about;
  const [left, setLeft] = useState(options[1]?.value ?? "draft");
  const [right, setRight] = useState("draft");
  const query = useQuery({
    queryKey: ["episode", "diff", episode.id, tier, rater, left, right],
    queryFn: () =>
      ok(
        api.GET("/api/episodes/{episode_id}/draft/diff", {
          params: { path: { episode_id: episode.id }, query: { tier, rater, left, right } },
        }),
      ),
  });
  const select = (label: string, value: string, onChange: (value: string) => void, testid: string) => (
    <Select
      style={{ flex: 1 }}
      label={label}
      data={options}
      value={value}
      allowDeselect={false}
      onChange={(chosen) => chosen !== null && onChange(chosen)}
      data-testid={testid}
    />
  );
  if (options.length === 1)
    return (
      <Text size="sm">
        Nothing is kept yet: the first state is kept after some minutes of work, or when labels are published.
      </Text>
    );
  return (
    <Stack gap="sm">
      <Group gap="sm" grow>
        {select("Left", left, setLeft, "history-left")}
        {select("Right", right, setRight, "history-right")}
      </Group>
      <Loaded query={query}>{(diff) => <Differences diff={diff} />}</Loaded>
    </Stack>
  );
}

function Differences({ diff }: { diff: Schema<"DiffOut"> }) {
  const { episode } = useAnnotator();
  const fields = Object.entries(diff.fields);
  return (
    <>
      <div className={classes.timeline} style={{ "--gutter": "60px" } as CSSProperties}>
        <OtherLanes
          view={whole(episode.steps)}
          others={[
            { name: "Left", segments: diff.left_segments },
            { name: "Right", segments: diff.right_segments },
          ]}
        />
      </div>
      <Group gap="xs">
        <Text size="sm" data-testid="history-count" data-count={diff.differences.length}>
          {diff.differences.length === 0
            ? "The texts are the same at every step."
            : `${plural(diff.differences.length, "difference")} in the texts.`}
        </Text>
        <Badge variant="light">{(100 * diff.agreement).toFixed(1)} % of the steps alike</Badge>
      </Group>
      {diff.differences.length + fields.length > 0 && (
        <ScrollArea.Autosize mah="46vh" viewportProps={{ tabIndex: 0, "aria-label": "Differences" }}>
          <Table stickyHeader>
            <Table.Thead>
              <Table.Tr>
                <Table.Th>Where</Table.Th>
                <Table.Th>Left</Table.Th>
                <Table.Th>Right</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {diff.differences.map(({ start, end, left, right }) => (
                <Table.Tr key={start} data-testid="history-difference">
                  <Table.Td>
                    {start} to {end - 1}
                  </Table.Td>
                  <Table.Td>{left || "no text"}</Table.Td>
                  <Table.Td>{right || "no text"}</Table.Td>
                </Table.Tr>
              ))}
              {fields.map(([name, [left, right]]) => (
                <Table.Tr key={name}>
                  <Table.Td>{name.replace("_", " ")}</Table.Td>
                  <Table.Td>{plain(left)}</Table.Td>
                  <Table.Td>{plain(right)}</Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </ScrollArea.Autosize>
      )}
    </>
  );
}

function plain(value: unknown): string {
  if (value === null || value === undefined) return "none";
  return typeof value === "string" ? value : JSON.stringify(value);
}
