import { Alert, Button, Checkbox, Group, Modal, Stack, Text, Textarea } from "@mantine/core";
import { useState } from "react";
import { Link } from "react-router";

import { ErrorNote } from "@/ui/ErrorNote";
import { plural } from "@/ui/format";

import { useCreateVersion, type Dataset, type Version } from "./core/hooks";

interface Props {
  opened: boolean;
  onClose: () => void;
  dataset: Dataset;
}

/** Freeze episodes and published labels; says what goes in and what stays out. */
export function PublishVersionDialog({ opened, onClose, dataset }: Props) {
  return (
    <Modal opened={opened} onClose={onClose} title={`Publish a version of "${dataset.name}"`} size="lg">
      {opened && <Content dataset={dataset} onClose={onClose} />}
    </Modal>
  );
}

function Content({ dataset, onClose }: Omit<Props, "opened">) {
  const create = useCreateVersion(dataset.id);
  const { labelled, episodes, drafts } = dataset;
  // a draft counts with what was published of it before, if anything was; only the server knows
  const unlabelled = episodes - labelled - drafts;
  const [note, setNote] = useState("");
  const [all, setAll] = useState(labelled + drafts === 0);
  if (create.data) return <Made version={create.data} onClose={onClose} />;

  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        create.mutate({ note: note.trim(), include_unlabelled: all });
      }}
      data-testid="version-form"
    >
      <Stack>
        <Text size="sm">
          A version freezes the episodes with their published substeps, instructions and outcomes in a manifest with a
          hash. Later edits do not change it: a run on it gives the same samples a year from now.
        </Text>
        <Text size="sm">
          <b>{plural(labelled, "labelled episode")}</b> {labelled === 1 ? "goes" : "go"} in
          {unlabelled > 0 &&
            `, ${plural(unlabelled, "unlabelled one")} ${all ? "too" : unlabelled === 1 ? "stays out" : "stay out"}`}
          .
        </Text>
        {drafts > 0 && (
          <Alert color="yellow" data-testid="version-drafts">
            {plural(drafts, "episode")} {drafts === 1 ? "has edits that are" : "have edits that are"} not published. The
            version uses what was published before; an episode without any counts as unlabelled.
          </Alert>
        )}
        {unlabelled + drafts > 0 && (
          <Checkbox
            checked={all}
            onChange={(event) => setAll(event.currentTarget.checked)}
            label="Include the unlabelled episodes"
            description="They train the actions only: their substeps are empty and no reasoning is learnt from them."
            data-testid="version-include-unlabelled"
          />
        )}
        <Textarea
          label="Note"
          description="What is new in it. Optional."
          autosize
          minRows={2}
          maxLength={1000}
          value={note}
          onChange={(event) => setNote(event.currentTarget.value)}
          data-testid="version-note"
        />
        <ErrorNote error={create.error} />
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button
            type="submit"
            loading={create.isPending}
            disabled={!all && labelled + drafts === 0}
            data-testid="version-submit"
          >
            Publish
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

function Made({ version, onClose }: { version: Version; onClose: () => void }) {
  return (
    <Stack data-testid="version-made" data-id={version.id}>
      <Text>
        Version {version.number} holds {plural(version.episodes, "episode")} and {plural(version.steps, "step")}.
      </Text>
      <Text size="sm" c="dimmed">
        Publishing again without a change gives this same version.
      </Text>
      <Group justify="flex-end">
        <Button variant="default" onClick={onClose} data-testid="version-close">
          Close
        </Button>
        <Button component={Link} to={`/training/new?version=${version.id}`} data-testid="version-made-train">
          Train on it
        </Button>
      </Group>
    </Stack>
  );
}
