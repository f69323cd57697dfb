import { Alert, Anchor, Button, Group, Select, Stack, Text, TextInput } from "@mantine/core";
import { IconCheck, IconPlayerRecordFilled, IconTrash, IconX } from "@tabler/icons-react";
import { useState } from "react";
import { Link } from "react-router";

import { useCan } from "@/api/queries";
import { useCreateDataset, useDatasets } from "@/features/datasets/core/hooks";
import { ErrorNote } from "@/ui/ErrorNote";
import { formatCount, formatSeconds, plural } from "@/ui/format";
import { RoleButton } from "@/ui/RoleButton";

import { useNow, useVerb } from "./hooks";
import classes from "./live.module.css";
import type { Recording, Saved } from "./messages";

/** Record what happens, whoever moves the robot, into a dataset. */
export function RecordPanel() {
  const recording = useNow((now) => now.recording);
  const saved = useNow((now) => now.saved);
  return (
    <section className={classes.panel} aria-label="Recording">
      {recording ? <Running recording={recording} /> : <Ready saved={saved ?? null} />}
    </section>
  );
}

function Ready({ saved }: { saved: Saved | null }) {
  const operator = useCan("operator");
  const datasets = useDatasets();
  const create = useCreateDataset();
  const record = useVerb("record");
  const told = useNow(({ policy, scene }) => policy?.instruction ?? scene?.instruction) ?? "";
  const [chosen, setChosen] = useState<string | null>(null);
  const [typed, setTyped] = useState<string | null>(null);
  const list = datasets.data ?? [];
  const id = chosen ?? saved?.dataset_id ?? list[0]?.id ?? null;
  const instruction = typed ?? told;
  return (
    <Stack gap="xs">
      <Group gap="xs" align="flex-end" wrap="nowrap">
        <Select
          style={{ flex: 1 }}
          size="xs"
          label="Record into"
          placeholder={list.length === 0 ? "No dataset yet" : "Choose a dataset"}
          data={list.map(({ id, name }) => ({ value: id, label: name }))}
          value={id}
          onChange={setChosen}
          allowDeselect={false}
          disabled={!operator || list.length === 0}
          data-testid="live-dataset"
        />
        {datasets.data?.length === 0 && (
          <RoleButton
            needs="operator"
            size="xs"
            variant="default"
            loading={create.isPending}
            onClick={() => create.mutate({ name: "Driven by hand", description: "" })}
            data-testid="live-new-dataset"
          >
            Create one
          </RoleButton>
        )}
        <RoleButton
          needs="operator"
          size="xs"
          color="red.8"
          c="light-dark(var(--mantine-color-red-8), var(--mantine-color-red-4))"
          variant="outline"
          leftSection={<IconPlayerRecordFilled size={14} />}
          loading={record.isPending}
          because={id === null ? "Choose a dataset." : instruction.trim() === "" ? "Write what is done in it." : null}
          onClick={() => record.mutate({ dataset_id: id ?? "", instruction: instruction.trim() })}
          data-testid="live-record"
        >
          Record
        </RoleButton>
      </Group>
      <TextInput
        size="xs"
        aria-label="Instruction of the recording"
        placeholder="What is done in it"
        maxLength={400}
        value={instruction}
        onChange={(event) => setTyped(event.currentTarget.value)}
        disabled={!operator}
        data-testid="live-record-instruction"
      />
      {saved && <LastSaved saved={saved} />}
      <ErrorNote error={record.error ?? create.error} />
    </Stack>
  );
}

function LastSaved({ saved }: { saved: Saved }) {
  if (saved.error !== null || saved.episode_id === null)
    return (
      <Alert color="orange" p="xs" data-testid="live-saved" data-state="error">
        {saved.error ?? "The recording could not be added to the dataset; its file was kept."}
      </Alert>
    );
  return (
    <Text size="sm" data-testid="live-saved" data-state="saved">
      Saved:{" "}
      <Anchor component={Link} to={`/episodes/${saved.episode_id}`} data-testid="live-saved-episode">
        episode of {plural(saved.steps, "step")}
      </Anchor>
    </Text>
  );
}

function Running({ recording }: { recording: Recording }) {
  const save = useVerb("save");
  const discard = useVerb("discard");
  const dropped = Object.values(recording.dropped).reduce((sum, each) => sum + each, 0);
  return (
    <Stack gap="xs">
      <Group justify="space-between" wrap="nowrap">
        <Group gap={6} wrap="nowrap">
          <IconPlayerRecordFilled
            size={16}
            color={recording.ended ? "var(--mantine-color-gray-6)" : "var(--mantine-color-red-6)"}
          />
          <Text size="sm" fw={600} data-testid="live-recording" data-steps={recording.steps}>
            {recording.saving ? "Saving" : recording.ended ? "Ended after" : "Recording"}{" "}
            {formatSeconds(recording.seconds)}
          </Text>
        </Group>
        <Text size="xs" c={dropped > 0 ? "orange" : "dimmed"} data-testid="live-dropped">
          {formatCount(recording.steps)} steps, {dropped === 0 ? "nothing lost" : plural(dropped, "frame")}
          {dropped > 0 && " lost"}
        </Text>
      </Group>
      {recording.note && (
        <Text size="xs" role="status" data-testid="live-recording-note">
          {recording.note.charAt(0).toUpperCase() + recording.note.slice(1)}.
        </Text>
      )}
      <Group gap="xs" grow>
        <RoleButton
          needs="operator"
          size="xs"
          px={6}
          color="teal.8"
          leftSection={<IconCheck size={14} />}
          loading={save.isPending || recording.saving}
          onClick={() => save.mutate({ success: true })}
          data-testid="live-save-success"
        >
          Save as success
        </RoleButton>
        <RoleButton
          needs="operator"
          size="xs"
          px={6}
          variant="default"
          leftSection={<IconX size={14} />}
          disabled={save.isPending || recording.saving}
          onClick={() => save.mutate({ success: false })}
          data-testid="live-save-failure"
        >
          Save as failure
        </RoleButton>
      </Group>
      <Button
        size="xs"
        px={6}
        variant="subtle"
        color="gray"
        leftSection={<IconTrash size={14} />}
        disabled={save.isPending || recording.saving}
        loading={discard.isPending}
        onClick={() => discard.mutate(null)}
        data-testid="live-discard"
      >
        Discard
      </Button>
      <ErrorNote error={save.error ?? discard.error} />
    </Stack>
  );
}
