import { Card, Group, Progress, SimpleGrid, Stack, Text, Title } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconDatabase } from "@tabler/icons-react";
import { Link, useSearchParams } from "react-router";

import { Thumbnail } from "@/features/episodes/core/Thumbnail";
import { EmptyState } from "@/ui/EmptyState";
import { formatBytes, plural } from "@/ui/format";
import { Loaded } from "@/ui/Loaded";
import { PageHeader } from "@/ui/PageHeader";
import { RoleButton } from "@/ui/RoleButton";

import classes from "./datasets.module.css";
import { DemoDialog } from "./core/DemoDialog";
import { labelledShare, labelledText, lengthText } from "./facts";
import { useDatasets, type Dataset } from "./core/hooks";
import { NewDatasetDialog } from "./NewDatasetDialog";

export function DatasetsPage() {
  const query = useDatasets();
  const [search, setSearch] = useSearchParams();
  const [making, { open: make, close: made }] = useDisclosure(search.has("new"));
  const [recording, { open: record, close: recorded }] = useDisclosure(search.has("demo"));
  const closeDemo = () => {
    recorded();
    setSearch({}, { replace: true });
  };

  const buttons = (
    <>
      <RoleButton needs="operator" variant="default" onClick={record} data-testid="demo-open">
        Create a demo dataset
      </RoleButton>
      <RoleButton needs="operator" onClick={make} data-testid="dataset-new">
        New dataset
      </RoleButton>
    </>
  );
  return (
    <>
      <PageHeader
        title="Datasets"
        subtitle="Episodes that belong together: recorded, uploaded or imported, then labelled and trained on."
        actions={buttons}
      />
      <Loaded query={query}>
        {(datasets) =>
          datasets.length === 0 ? (
            <EmptyState
              icon={IconDatabase}
              title="No datasets yet"
              action={
                <Group justify="center" gap="xs">
                  {buttons}
                </Group>
              }
            >
              Record scripted demonstrations in the simulator as a first dataset, or make an empty one and upload your
              own HDF5 episodes.
            </EmptyState>
          ) : (
            <SimpleGrid cols={{ base: 1, sm: 2, lg: 3, xl: 4 }} spacing="md">
              {datasets.map((dataset) => (
                <DatasetCard key={dataset.id} dataset={dataset} />
              ))}
            </SimpleGrid>
          )
        }
      </Loaded>
      <DemoDialog opened={recording} onClose={closeDemo} />
      <NewDatasetDialog opened={making} onClose={made} />
    </>
  );
}

function DatasetCard({ dataset }: { dataset: Dataset }) {
  return (
    <Card
      component={Link}
      to={`/datasets/${dataset.id}`}
      className={classes.card}
      data-testid="dataset-card"
      data-id={dataset.id}
    >
      <Card.Section>
        <Thumbnail episodeId={dataset.cover_episode_id} ratio={2} />
      </Card.Section>
      <Stack gap={6} mt="sm">
        <Title order={2} className={classes.name}>
          {dataset.name}
        </Title>
        <Text size="sm" c="dimmed" lineClamp={1} mih={21}>
          {dataset.description || "No description"}
        </Text>
        <Progress
          value={100 * labelledShare(dataset)}
          color="teal"
          size="sm"
          aria-label={`Labelled episodes of ${dataset.name}`}
        />
        <Group justify="space-between" gap="xs" wrap="nowrap">
          <Text size="xs" c="dimmed">
            {labelledText(dataset)}
          </Text>
          <Text size="xs" c="dimmed" style={{ whiteSpace: "nowrap" }}>
            {dataset.versions > 0 ? plural(dataset.versions, "version") : "no version yet"}
          </Text>
        </Group>
        <Group justify="space-between" gap="xs" wrap="nowrap">
          <Text size="sm">
            {plural(dataset.episodes, "episode")}
            <Text span c="dimmed" size="sm">
              {dataset.episodes > 0 && `, ${lengthText(dataset.steps, dataset.fps)}`}
            </Text>
          </Text>
          <Text size="sm" c="dimmed" style={{ whiteSpace: "nowrap" }}>
            {formatBytes(dataset.size_bytes)}
          </Text>
        </Group>
      </Stack>
    </Card>
  );
}
