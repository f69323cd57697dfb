import { ActionIcon, Anchor, Group, Menu, SegmentedControl, Text, TextInput, Tooltip } from "@mantine/core";
import {
  IconArrowBackUp,
  IconArrowForwardUp,
  IconChevronLeft,
  IconChevronRight,
  IconDots,
  IconDownload,
  IconHistory,
  IconKeyboard,
  IconScissors,
  IconWand,
} from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useState, type ReactNode } from "react";
import { Link, useNavigate } from "react-router";

import { useCan } from "@/api/queries";
import { LabelBadge } from "@/features/episodes/core/LabelBadge";
import { DetailsButton } from "./EpisodeDetails";
import { TierTabs } from "./TierTabs";
import { HistoryDialog } from "./HistoryDialog";

import { keyText } from "./actions";
import { useAnnotator, useEditorState } from "./context";
import { withOutcome } from "./editor";
import { SaveStatus } from "./SaveStatus";
import { performAction } from "./shortcuts";
import { visionQuery } from "@/features/labels/core/vision";
import { segmentAt, segmentOf, tidy } from "@/features/labels/core/timeline";
import { ActionButton } from "./Transport";

/** Where one is, is it saved, publish; below it what the episode is about. `actions`: revisions and publish. */
export function Header({ actions: right }: { actions: ReactNode }) {
  const { episode, actions } = useAnnotator();
  const { canUndo, canRedo, content } = useEditorState();
  const [looking, setLooking] = useState(false);
  const vision = useQuery(visionQuery);
  return (
    <>
      <Group justify="space-between" gap="xs" mb={6}>
        <Group gap="xs" wrap="nowrap" style={{ minWidth: 0 }}>
          <Anchor component={Link} to={`/datasets/${episode.dataset_id}`} size="sm" truncate>
            {episode.dataset_name}
          </Anchor>
          <Text c="dimmed" size="sm">
            /
          </Text>
          <Text component="h1" fw={600} size="lg" m={0} style={{ whiteSpace: "nowrap" }} data-testid="episode-title">
            Episode {episode.number}
          </Text>
          <ActionButton id="previous-episode" disabled={episode.previous_id === null} testid="previous-episode">
            <IconChevronLeft size={16} />
          </ActionButton>
          <ActionButton id="next-episode" disabled={episode.next_id === null} testid="next-episode">
            <IconChevronRight size={16} />
          </ActionButton>
          <LabelBadge state={episode.label_state} />
        </Group>
        <Group gap="xs" wrap="nowrap">
          <SaveStatus />
          <ActionButton id="undo" disabled={!canUndo} testid="undo">
            <IconArrowBackUp size={18} />
          </ActionButton>
          <ActionButton id="redo" disabled={!canRedo} testid="redo">
            <IconArrowForwardUp size={18} />
          </ActionButton>
          {right}
          <Menu position="bottom-end">
            <Menu.Target>
              <ActionIcon variant="default" size={32} aria-label="More" data-testid="annotator-menu">
                <IconDots size={18} />
              </ActionIcon>
            </Menu.Target>
            <Menu.Dropdown>
              <Menu.Label>Propose substeps</Menu.Label>
              <ProposeItem id="copy" text="As in similar episodes" />
              <ProposeItem id="template" text="The usual sequence" />
              {vision.data?.configured && (
                <ProposeItem id="ask-model" text={`Ask ${vision.data.model ?? "the model"}`} />
              )}
              <Menu.Divider />
              <Menu.Item
                component="a"
                href={`/api/episodes/${episode.id}/file`}
                download
                leftSection={<IconDownload size={16} />}
                data-testid="download-hdf5"
              >
                Download HDF5
              </Menu.Item>
              <Menu.Item
                leftSection={<IconHistory size={16} />}
                onClick={() => setLooking(true)}
                data-testid="history-open"
              >
                History
              </Menu.Item>
              <Menu.Divider />
              <EditItems />
              <Menu.Divider />
              <Menu.Item
                leftSection={<IconKeyboard size={16} />}
                rightSection={<Text size="xs">?</Text>}
                onClick={() => performAction(actions, "help")}
              >
                Keys
              </Menu.Item>
            </Menu.Dropdown>
          </Menu>
          <HistoryDialog opened={looking} onClose={() => setLooking(false)} />
        </Group>
      </Group>
      <Group gap="xs" wrap="nowrap">
        <Text size="xs" c="dimmed" component="label" htmlFor="instruction">
          Instruction
        </Text>
        <Instruction key={content.instruction} text={content.instruction} />
        <Outcome />
        <DetailsButton />
        <TierTabs />
      </Group>
    </>
  );
}

/** Edits of the episode that take their bounds from the playhead; the dataset's page shows what would be made. */
function EditItems() {
  const { episode, playback } = useAnnotator();
  const navigate = useNavigate();
  const may = useCan("operator");
  const { timeline } = useEditorState().content;
  const { step } = playback.player.state;
  const { start, end } = segmentOf(timeline, segmentAt(timeline, step));
  const items: [string, string, boolean][] = [
    [`Trim what is before step ${step}`, `do=keep&first=${step}&last=${episode.steps - 1}`, step > 0],
    [`Trim what is after step ${step}`, `do=keep&first=0&last=${step}`, step < episode.steps - 1],
    [`Cut steps ${start} to ${end - 1} out`, `do=cut&first=${start}&last=${end - 1}`, end - start < episode.steps],
    [`Split at step ${step}`, `do=split&step=${step}`, step > 0],
  ];
  return (
    <>
      <Menu.Label>Edit the episode{may ? "" : " (needs the role operator)"}</Menu.Label>
      {items.map(([text, asked, possible]) => (
        <Menu.Item
          key={asked}
          disabled={!may || !possible}
          leftSection={<IconScissors size={16} />}
          onClick={() => void navigate(`/datasets/${episode.dataset_id}?edit=${episode.id}&${asked}`)}
          data-testid="episode-edit"
        >
          {text}
        </Menu.Item>
      ))}
    </>
  );
}

function ProposeItem({ id, text }: { id: string; text: string }) {
  const { actions, editor } = useAnnotator();
  return (
    <Menu.Item
      disabled={editor.readOnly}
      leftSection={<IconWand size={16} />}
      rightSection={<Text size="xs">{keyText(actions.find((each) => each.id === id)?.keys[0] ?? "")}</Text>}
      onClick={() => performAction(actions, id)}
      data-testid={`propose-${id}`}
    >
      {text}
    </Menu.Item>
  );
}

/** Enter or leaving the field takes the text, Escape the old one; it cannot be empty. */
function Instruction({ text }: { text: string }) {
  const { editor } = useAnnotator();
  const [value, setValue] = useState(text);
  return (
    <TextInput
      id="instruction"
      size="xs"
      value={value}
      readOnly={editor.readOnly}
      maxLength={1000}
      onChange={(event) => setValue(event.currentTarget.value)}
      onBlur={() => {
        const wanted = tidy(value);
        if (wanted === "") setValue(text);
        else if (wanted !== text) editor.change((content) => ({ ...content, instruction: wanted }));
      }}
      onKeyDown={(event) => {
        if (event.key === "Enter") event.currentTarget.blur();
        if (event.key === "Escape") setValue(text);
      }}
      style={{ flex: 1, minWidth: 120 }}
      data-testid="instruction"
    />
  );
}

function Outcome() {
  const { editor } = useAnnotator();
  const { success } = useEditorState().content;
  return (
    <Tooltip label="Did the robot do what the instruction says?">
      <SegmentedControl
        size="xs"
        disabled={editor.readOnly}
        value={success === null ? "unknown" : success ? "success" : "failure"}
        onChange={(value) =>
          editor.change((content) => withOutcome(content, value === "unknown" ? null : value === "success"))
        }
        data={[
          { value: "success", label: "Success" },
          { value: "failure", label: "Failure" },
          { value: "unknown", label: "Unknown" },
        ]}
        aria-label="Outcome"
        data-testid="outcome"
        style={{ flexShrink: 0 }}
      />
    </Tooltip>
  );
}
