import { ActionIcon, Button, Menu, Stack, Tabs, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconDots, IconPencil, IconScissors, IconTrash } from "@tabler/icons-react";
import { useState } from "react";
import { Link, useNavigate, useParams, useSearchParams } from "react-router";

import { ApiError } from "@/api/client";
import { useCan } from "@/api/queries";
import { EpisodesTab } from "./EpisodesTab";
import { useJobs } from "@/features/jobs/core/hooks";
import { confirm } from "@/ui/confirm";
import { formatBytes, formatCount, formatSeconds, plural } from "@/ui/format";
import { JobProgress } from "@/ui/JobProgress";
import { Loaded } from "@/ui/Loaded";
import { PageHeader } from "@/ui/PageHeader";
import { RoleButton } from "@/ui/RoleButton";

import classes from "./datasets.module.css";
import { DemoDialog } from "./core/DemoDialog";
import { labelledText } from "./facts";
import { useDataset, useDeleteDataset, type Dataset } from "./core/hooks";
import { NoSuch } from "./core/NoSuch";
import { EditDialog } from "./editing/EditDialog";
import { HistoryTab } from "./editing/HistoryTab";
import { ExportDialog } from "./ExportDialog";
import { AcceptLabels } from "./importing/AcceptLabels";
import { ImportTab } from "./ImportTab";
import { NewDatasetDialog } from "./NewDatasetDialog";
import { SurveyTab } from "./survey/SurveyTab";
import { PublishVersionDialog } from "./PublishVersionDialog";
import { VersionsTab } from "./VersionsTab";
import { VocabularyTab } from "./VocabularyTab";

const TABS = ["episodes", "versions", "vocabulary", "survey", "import", "history"] as const;

export function DatasetPage() {
  const { id = "" } = useParams();
  const query = useDataset(id);
  if (query.error instanceof ApiError && query.error.status === 404) return <NoSuch what="dataset" icon={IconTrash} />;
  return <Loaded query={query}>{(dataset) => <Page key={dataset.id} dataset={dataset} />}</Loaded>;
}

function Page({ dataset }: { dataset: Dataset }) {
  const [search, setSearch] = useSearchParams();
  const asked = search.get("tab");
  const tab = TABS.find((each) => each === asked) ?? "episodes";
  const [recording, { open: record, close: recorded }] = useDisclosure(false);
  const [publishing, { open: publish, close: published }] = useDisclosure(false);
  const [exporting, { open: write, close: written }] = useDisclosure(false);
  const [edits, setEdits] = useState(0);
  const go = (to: string) => setSearch(to === "episodes" ? {} : { tab: to }, { replace: true });

  return (
    <>
      <PageHeader
        title={dataset.name}
        path={[{ label: "Datasets", to: "/datasets" }]}
        subtitle={dataset.description || undefined}
        actions={
          <>
            <Button component={Link} to="labels" variant="default" data-testid="dataset-labelling">
              Labelling
            </Button>
            <RoleButton needs="operator" variant="default" onClick={record} data-testid="dataset-record">
              Record more
            </RoleButton>
            <Button variant="default" onClick={write} data-testid="export-open">
              Export
            </Button>
            <RoleButton
              needs="operator"
              onClick={publish}
              because={dataset.episodes === 0 ? "There are no episodes yet." : null}
              data-testid="version-publish"
            >
              Publish version
            </RoleButton>
            <DatasetMenu dataset={dataset} onEdited={() => setEdits((old) => old + 1)} />
          </>
        }
      />
      <Stack>
        <Facts dataset={dataset} />
        <ActiveJobs dataset={dataset} />
        <Tabs value={tab} onChange={(value) => go(value ?? "episodes")} keepMounted={false}>
          <Tabs.List mb="md">
            <Tabs.Tab value="episodes" data-testid="tab-episodes">
              Episodes {dataset.episodes > 0 && <Count>{dataset.episodes}</Count>}
            </Tabs.Tab>
            <Tabs.Tab value="versions" data-testid="tab-versions">
              Versions {dataset.versions > 0 && <Count>{dataset.versions}</Count>}
            </Tabs.Tab>
            <Tabs.Tab value="vocabulary" data-testid="tab-vocabulary">
              Vocabulary {dataset.vocabulary.length > 0 && <Count>{dataset.vocabulary.length}</Count>}
            </Tabs.Tab>
            <Tabs.Tab value="survey" data-testid="tab-survey">
              Survey
            </Tabs.Tab>
            <Tabs.Tab value="import" data-testid="tab-import">
              Upload and import
            </Tabs.Tab>
            <Tabs.Tab value="history" data-testid="tab-history">
              History
            </Tabs.Tab>
          </Tabs.List>
          <Tabs.Panel value="episodes">
            {/* begun anew after an edit of all of them: what was selected is gone */}
            <EpisodesTab
              key={edits}
              dataset={dataset}
              empty={
                <Button variant="default" onClick={() => go("import")}>
                  Upload or import
                </Button>
              }
            />
          </Tabs.Panel>
          <Tabs.Panel value="versions">
            <VersionsTab dataset={dataset} onPublish={publish} />
          </Tabs.Panel>
          <Tabs.Panel value="vocabulary">
            <VocabularyTab dataset={dataset} />
          </Tabs.Panel>
          <Tabs.Panel value="survey">
            <SurveyTab dataset={dataset} />
          </Tabs.Panel>
          <Tabs.Panel value="import">
            <ImportTab dataset={dataset} />
          </Tabs.Panel>
          <Tabs.Panel value="history">
            <HistoryTab dataset={dataset} />
          </Tabs.Panel>
        </Tabs>
      </Stack>
      <DemoDialog opened={recording} onClose={recorded} dataset={dataset} />
      <ExportDialog opened={exporting} onClose={written} dataset={dataset} />
      <PublishVersionDialog opened={publishing} onClose={published} dataset={dataset} />
    </>
  );
}

function Count({ children }: { children: number }) {
  return (
    <Text span size="xs" c="dimmed">
      {formatCount(children)}
    </Text>
  );
}

function Facts({ dataset }: { dataset: Dataset }) {
  const { fps, steps, action_dim, state_dim, cameras } = dataset;
  if (dataset.episodes === 0) return null;
  const facts: [string, string][] = [
    ["Episodes", `${formatCount(dataset.episodes)}, ${labelledText(dataset)}`],
    ["Length", fps ? `${plural(steps, "step")}, ${formatSeconds(steps / fps)} at ${fps} Hz` : plural(steps, "step")],
    ["Action, state", `${action_dim ?? "?"}, ${state_dim ?? "?"} dimensions`],
    ["Cameras", cameras.join(", ") || "none"],
    ["Size", formatBytes(dataset.size_bytes)],
  ];
  return (
    <dl className={classes.facts} data-testid="dataset-facts">
      {facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** Recordings and imports that are under way: they may have been started elsewhere. When none is, what they brought. */
function ActiveJobs({ dataset }: { dataset: Dataset }) {
  const { data } = useJobs({ subject_id: dataset.id, active: true });
  return (
    <>
      {data?.items.map((job) => (
        <JobProgress key={job.id} job={job} titled />
      ))}
      <AcceptLabels dataset={dataset} busy={data === undefined || data.items.some(({ kind }) => kind === "import")} />
    </>
  );
}

function DatasetMenu({ dataset, onEdited }: { dataset: Dataset; onEdited: () => void }) {
  const may = useCan("operator");
  const navigate = useNavigate();
  const remove = useDeleteDataset();
  const [editing, { open, close }] = useDisclosure(false);
  const [merging, { open: merge, close: merged }] = useDisclosure(false);
  return (
    <>
      <Menu position="bottom-end">
        <Menu.Target>
          <ActionIcon variant="default" size={36} aria-label="More" data-testid="dataset-menu">
            <IconDots size={18} />
          </ActionIcon>
        </Menu.Target>
        <Menu.Dropdown>
          <Menu.Item disabled={!may} onClick={open} leftSection={<IconPencil size={16} />} data-testid="dataset-edit">
            Name and description
          </Menu.Item>
          <Menu.Item
            disabled={!may || dataset.episodes === 0}
            onClick={merge}
            leftSection={<IconScissors size={16} />}
            data-testid="dataset-edit-all"
          >
            Edit or merge all episodes
          </Menu.Item>
          <Menu.Item
            color="red"
            disabled={!may}
            leftSection={<IconTrash size={16} />}
            data-testid="dataset-delete"
            onClick={() =>
              confirm({
                title: `Delete "${dataset.name}"?`,
                children: `${plural(dataset.episodes, "episode")} (${formatBytes(dataset.size_bytes)}) and their labels are removed for good. Checkpoints that were trained on it stay. A dataset whose versions are used by runs cannot be deleted.`,
                confirm: "Delete the dataset",
                action: async () => {
                  await remove.mutateAsync(dataset.id);
                  void navigate("/datasets");
                },
              })
            }
          >
            Delete{may ? "" : " (needs the role operator)"}
          </Menu.Item>
        </Menu.Dropdown>
      </Menu>
      <NewDatasetDialog opened={editing} onClose={close} dataset={dataset} />
      <EditDialog opened={merging} onClose={merged} dataset={dataset} ids={null} action="move" onDone={onEdited} />
    </>
  );
}
