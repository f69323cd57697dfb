import { ActionIcon, Alert, Anchor, Group, NumberInput, Select, Stack, Text, Tooltip } from "@mantine/core";
import { IconInfoCircle, IconPlus, IconTrash } from "@tabler/icons-react";
import { Link } from "react-router";

import { formatCount, formatPercent, plural } from "@/ui/format";
import { RoleButton } from "@/ui/RoleButton";
import { Section } from "@/ui/Section";

import { shares } from "./core/shares";
import type { Version } from "@/features/datasets/core/versions";
import type { DraftForm } from "./useDraft";

interface Props {
  draft: DraftForm;
  versions: readonly Version[];
  errors: Record<string, string>;
}

function name(version: Version): string {
  return `${version.dataset_name} v${version.number}`;
}

function facts(version: Version): string {
  const labelled = version.steps > 0 ? version.labelled_steps / version.steps : 0;
  return `${plural(version.episodes, "episode")}, ${formatCount(version.steps)} steps, ${formatPercent(labelled)} labelled`;
}

/** One or several dataset versions, and how often samples of each are drawn. */
export function DataChoice({ draft, versions, errors }: Props) {
  const { sources } = draft.draft;
  const parts = shares(sources.map(({ weight }) => weight));
  const left = versions.filter(({ id }) => sources.every(({ version_id }) => version_id !== id));
  const set = (index: number, change: Partial<(typeof sources)[number]>) =>
    draft.change({ sources: sources.map((source, place) => (place === index ? { ...source, ...change } : source)) });
  const datasets = [...new Set(versions.map(({ dataset_name }) => dataset_name))];
  const options = (among: readonly Version[]) =>
    datasets.flatMap((dataset) => {
      const items = among.filter(({ dataset_name }) => dataset_name === dataset);
      return items.length > 0
        ? [{ group: dataset, items: items.map((version) => ({ value: version.id, label: name(version) })) }]
        : [];
    });
  if (versions.length === 0)
    return (
      <Section title="Data" data-testid="run-data">
        <Alert icon={<IconInfoCircle size={18} />} title="No dataset version yet">
          A run trains on a version of a dataset, which never changes: its episodes with their labels. Open a{" "}
          <Anchor component={Link} to="/datasets" size="sm">
            dataset
          </Anchor>
          , label its episodes, and make a version there.
        </Alert>
      </Section>
    );
  return (
    <Section
      title="Data"
      description="Versions of datasets. With several, the weights say how often samples of each are drawn."
      data-testid="run-data"
      actions={
        <RoleButton
          needs="operator"
          size="xs"
          variant="light"
          leftSection={<IconPlus size={14} />}
          data-testid="source-add"
          because={left.length === 0 ? "All versions are chosen already." : null}
          onClick={() => left[0] && draft.change({ sources: [...sources, { version_id: left[0].id, weight: 1 }] })}
        >
          {sources.length === 0 ? "Choose a version" : "Add a version"}
        </RoleButton>
      }
    >
      <Stack gap="sm">
        {errors.sources && (
          <Text size="sm" c="red" role="alert">
            {errors.sources}
          </Text>
        )}
        {sources.map((source, index) => {
          const version = versions.find(({ id }) => id === source.version_id);
          return (
            <Group key={source.version_id} align="flex-start" gap="sm" wrap="nowrap" data-testid="source">
              <Select
                style={{ flex: 1, minWidth: 0 }}
                aria-label={`Dataset version ${index + 1}`}
                data={options([...left, ...(version ? [version] : [])])}
                value={version ? source.version_id : null}
                onChange={(value) => value && set(index, { version_id: value })}
                allowDeselect={false}
                searchable
                placeholder={version ? undefined : "This version is gone; choose another"}
                error={errors[`sources.${index}`] ?? errors[`sources.${index}.version_id`]}
                description={version && facts(version)}
                inputWrapperOrder={["input", "description", "error"]}
                data-testid="source-version"
              />
              {sources.length > 1 && (
                <NumberInput
                  w={150}
                  aria-label={`Weight of version ${index + 1}`}
                  value={source.weight}
                  min={0}
                  step={0.5}
                  decimalScale={4}
                  onChange={(value) => typeof value === "number" && value > 0 && set(index, { weight: value })}
                  description={`${formatPercent(parts[index] ?? 0)} of the samples`}
                  inputWrapperOrder={["input", "description", "error"]}
                  error={errors[`sources.${index}.weight`]}
                  prefix="weight "
                  data-testid="source-weight"
                />
              )}
              <Tooltip label="Leave it out">
                <ActionIcon
                  variant="subtle"
                  color="gray"
                  mt={4}
                  aria-label={`Leave out version ${index + 1}`}
                  data-testid="source-remove"
                  onClick={() => draft.change({ sources: sources.filter((_, place) => place !== index) })}
                >
                  <IconTrash size={16} />
                </ActionIcon>
              </Tooltip>
            </Group>
          );
        })}
        {sources.length === 0 && !errors.sources && (
          <Text size="sm" c="dimmed">
            Nothing chosen yet.
          </Text>
        )}
      </Stack>
    </Section>
  );
}
