import { Button, Divider, Group, Modal, MultiSelect, Radio, Select, SimpleGrid, Stack, Text } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { Fragment, useState } from "react";

import { useCan } from "@/api/queries";
import { ErrorNote } from "@/ui/ErrorNote";
import { formatBytes, formatSeconds, plural } from "@/ui/format";
import { RoleButton } from "@/ui/RoleButton";

import { useVersions, type Dataset } from "./core/hooks";
import { ExportList } from "./ExportList";
import {
  destinationText,
  useCreateExport,
  useDestinations,
  useFormats,
  usePreview,
  type Choice,
  type Labelled,
  type Outcome,
} from "./exports";

const SETTLED_MS = 250;
const NOW = "now";
const ANYBODY = "anybody";
const PURPOSES = [
  { purpose: "train", heading: "To train on elsewhere" },
  { purpose: "look", heading: "To look at" },
];
const LABELS: { value: Labelled; label: string }[] = [
  { value: "any", label: "With labels or without" },
  { value: "labelled", label: "With published labels" },
  { value: "unlabelled", label: "Without labels" },
];
const OUTCOMES: { value: Outcome; label: string }[] = [
  { value: "success", label: "Success" },
  { value: "failure", label: "Failure" },
  { value: "unknown", label: "Not said" },
];

interface Props {
  opened: boolean;
  onClose: () => void;
  dataset: Dataset;
}

/** Chosen episodes in another tool's format, made by a job; what was made before lies below. */
export function ExportDialog({ opened, onClose, dataset }: Props) {
  const [begun, setBegun] = useState<string | null>(null);
  return (
    <Modal opened={opened} onClose={onClose} title={`Export from "${dataset.name}"`} size="xl">
      {opened && (
        <Stack gap="lg">
          <Form dataset={dataset} onBegin={setBegun} />
          <ExportList datasetId={dataset.id} begun={begun} />
          <Group justify="flex-end">
            <Button variant="default" onClick={onClose} data-testid="export-close">
              Close
            </Button>
          </Group>
        </Stack>
      )}
    </Modal>
  );
}

function Form({ dataset, onBegin }: { dataset: Dataset; onBegin: (id: string) => void }) {
  const may = useCan("operator");
  const formats = useFormats();
  const versions = useVersions(dataset.id);
  const create = useCreateExport(dataset.id);
  const [format, setFormat] = useState<string | null>(null);
  const [choice, setChoice] = useState<Choice>({
    version_id: null,
    labels: "any",
    outcomes: [],
    published_by: null,
    tags: [],
  });
  const destinations = useDestinations();
  const places = destinations.data ?? [];
  const [place, setPlace] = useState("0");
  const [settled] = useDebouncedValue(choice, SETTLED_MS);
  const preview = usePreview(dataset.id, settled);
  const found = preview.data;
  const set = (fields: Partial<Choice>) => setChoice((old) => ({ ...old, ...fields }));
  const people = found?.people ?? [];
  const tags = found?.tags ?? [];

  if (!may)
    return (
      <Text size="sm" c="dimmed">
        Exporting needs the role operator. What others exported can be downloaded below.
      </Text>
    );
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        const where = places[Number(place)];
        const destination = where && { kind: where.kind, name: where.name };
        if (format !== null) create.mutate({ format, choice, destination }, { onSuccess: ({ id }) => onBegin(id) });
      }}
      data-testid="export-form"
    >
      <Stack>
        <Radio.Group label="Format" value={format} onChange={setFormat} data-testid="export-format">
          {PURPOSES.map(({ purpose, heading }) => {
            const fitting = formats.data?.filter((one) => one.purpose === purpose) ?? [];
            if (fitting.length === 0) return null;
            return (
              <Fragment key={purpose}>
                <Text size="xs" c="dimmed" mt="xs" mb={6}>
                  {heading}
                </Text>
                <SimpleGrid cols={{ base: 1, sm: 2 }} spacing="md" verticalSpacing="xs">
                  {fitting.map(({ name, title, readers }) => (
                    <Radio
                      key={name}
                      value={name}
                      label={title}
                      description={readers || undefined}
                      data-testid={`export-format-${name}`}
                    />
                  ))}
                </SimpleGrid>
              </Fragment>
            );
          })}
        </Radio.Group>
        <Divider />
        <SimpleGrid cols={{ base: 1, sm: 2 }}>
          <Select
            label="Labels"
            description="Those of a version never change."
            allowDeselect={false}
            value={choice.version_id ?? NOW}
            onChange={(value) => set({ version_id: value === NOW ? null : value })}
            data={[
              { value: NOW, label: "As they are published now" },
              ...(versions.data ?? []).map(({ id, number }) => ({ value: id, label: `Version ${number}` })),
            ]}
            data-testid="export-version"
          />
          <Select
            label="Episodes"
            description="Whether somebody published labels of them."
            allowDeselect={false}
            value={choice.labels}
            onChange={(value) => set({ labels: value ?? "any" })}
            data={LABELS}
            data-testid="export-labels"
          />
          <MultiSelect
            label="Outcome"
            placeholder={choice.outcomes?.length ? undefined : "Any"}
            value={choice.outcomes}
            onChange={(value) => set({ outcomes: value })}
            data={OUTCOMES}
            data-testid="export-outcomes"
          />
          {people.length > 0 && (
            <Select
              label="Labelled by"
              allowDeselect={false}
              value={choice.published_by ?? ANYBODY}
              onChange={(value) => set({ published_by: value === ANYBODY ? null : value })}
              data={[
                { value: ANYBODY, label: "Anybody" },
                ...people.map(({ id, name }) => ({ value: id, label: name })),
              ]}
              data-testid="export-person"
            />
          )}
          {tags.length > 0 && (
            <MultiSelect
              label="Tags"
              placeholder={choice.tags?.length ? undefined : "Any"}
              value={choice.tags}
              onChange={(value) => set({ tags: value })}
              data={tags}
              data-testid="export-tags"
            />
          )}
          {places.length > 1 && (
            <Select
              label="Goes to"
              description="Folders and S3 places are configured on the studio's machine."
              allowDeselect={false}
              value={place}
              onChange={(value) => setPlace(value ?? "0")}
              data={places.map((one, at) => ({ value: String(at), label: destinationText(one) }))}
              data-testid="export-destination"
            />
          )}
        </SimpleGrid>
        <ErrorNote error={formats.error ?? destinations.error ?? preview.error ?? create.error} />
        <Group justify="space-between" gap="sm">
          <Text
            size="sm"
            aria-live="polite"
            mih={22}
            data-testid="export-count"
            data-episodes={preview.isPlaceholderData ? undefined : found?.episodes}
          >
            {found && countText(found)}
          </Text>
          <RoleButton
            needs="operator"
            type="submit"
            loading={create.isPending}
            because={
              format === null
                ? "Choose a format first."
                : found?.episodes === 0
                  ? "The choice leaves no episode."
                  : null
            }
            data-testid="export-start"
          >
            Export
          </RoleButton>
        </Group>
      </Stack>
    </form>
  );
}

/** "12 episodes, 8 labelled, 3 min 5 s, 1.2 GiB as stored here". */
function countText(found: NonNullable<ReturnType<typeof usePreview>["data"]>): string {
  const { episodes, labelled, steps, seconds, size_bytes } = found;
  if (episodes === 0) return "No episode fits.";
  const length = seconds === null ? plural(steps, "step") : formatSeconds(seconds);
  const share =
    labelled === episodes ? (episodes === 1 ? "labelled" : "all labelled") : `${labelled || "none"} labelled`;
  return `${plural(episodes, "episode")}, ${share}, ${length}, ${formatBytes(size_bytes)} as stored here`;
}
