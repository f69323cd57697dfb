import { Anchor, Badge, Card, Group, Select, Switch, Text, TextInput, Tooltip } from "@mantine/core";
import { IconPackage, IconSearch } from "@tabler/icons-react";
import { Link, useNavigate } from "react-router";

import { Sources } from "@/features/training/core/Sources";
import { StageBadge } from "@/features/training/core/StageBadge";
import { DataTable, type Column } from "@/ui/DataTable";
import { EmptyState } from "@/ui/EmptyState";
import { formatBytes, formatNumber, formatPercent, plural } from "@/ui/format";
import { Loaded } from "@/ui/Loaded";
import { PageHeader } from "@/ui/PageHeader";
import { useFilters } from "@/ui/search";
import { Time } from "@/ui/Time";

import { CheckpointActions } from "./core/CheckpointActions";
import { useCheckpoints, type Checkpoint } from "./core/hooks";

const COLUMNS: Column<Checkpoint>[] = [
  {
    key: "name",
    header: "Checkpoint",
    sort: (checkpoint) => checkpoint.name,
    cell: (checkpoint) => (
      <>
        <Anchor
          component={Link}
          to={`/checkpoints/${checkpoint.id}`}
          size="sm"
          fw={500}
          style={{ overflowWrap: "anywhere" }}
          data-testid="checkpoint-link"
        >
          {checkpoint.name}
        </Anchor>
        {!checkpoint.available && (
          <Text size="xs" c="dimmed">
            Files are gone: {checkpoint.deleted_why}
          </Text>
        )}
      </>
    ),
  },
  {
    key: "stage",
    header: "Stage",
    width: 100,
    sort: (checkpoint) => checkpoint.stage,
    cell: ({ stage }) => <StageBadge stage={stage} />,
  },
  { key: "data", header: "Trained on", width: 220, cell: ({ sources }) => <Sources sources={sources} /> },
  {
    key: "loss",
    header: "Held-out loss",
    width: 140,
    align: "right",
    sort: (checkpoint) => checkpoint.val_loss,
    cell: ({ val_loss }) => (val_loss === null ? "-" : formatNumber(val_loss, 3)),
  },
  {
    key: "success",
    header: "Success",
    width: 110,
    align: "right",
    sort: (checkpoint) => checkpoint.best_success_rate,
    cell: ({ best_success_rate, evaluations }) => (
      <Tooltip label={`The best of its closed-loop evaluations; ${plural(evaluations, "evaluation")} in all`}>
        <span>
          {best_success_rate === null ? "-" : formatPercent(best_success_rate)}
          {evaluations > 0 && (
            <Text size="xs" c="dimmed" style={{ whiteSpace: "nowrap" }}>
              {plural(evaluations, "evaluation")}
            </Text>
          )}
        </span>
      </Tooltip>
    ),
  },
  {
    key: "size",
    header: "Size",
    width: 90,
    align: "right",
    sort: (checkpoint) => checkpoint.size_bytes,
    cell: ({ size_bytes, available }) => (
      <Text size="sm" td={available ? undefined : "line-through"} style={{ whiteSpace: "nowrap" }}>
        {formatBytes(size_bytes)}
      </Text>
    ),
  },
  {
    key: "created",
    header: "Saved",
    width: 100,
    sort: (checkpoint) => checkpoint.created_at,
    cell: ({ created_at }) => <Time value={created_at} />,
  },
  {
    key: "actions",
    header: "",
    width: 110,
    align: "right",
    cell: (checkpoint) =>
      checkpoint.available ? <CheckpointActions checkpoint={checkpoint} /> : <Badge color="gray">deleted</Badge>,
  },
];

export function CheckpointsPage() {
  const [search, change] = useFilters();
  const navigate = useNavigate();
  const deleted = search.get("deleted") !== null;
  const run = search.get("run");
  const words = search.get("q") ?? "";
  const query = useCheckpoints({ deleted });
  return (
    <>
      <PageHeader
        title="Checkpoints"
        subtitle="What trainings have saved: evaluate it, train on from it, or take it to a robot."
      />
      <Loaded query={query} lines={6}>
        {(all) => {
          if (all.length === 0 && !deleted)
            return (
              <Card>
                <EmptyState icon={IconPackage} title="No checkpoint yet">
                  A training saves them as it goes. Start one on the page{" "}
                  <Anchor component={Link} to="/training">
                    Training
                  </Anchor>
                  .
                </EmptyState>
              </Card>
            );
          const runs = new Map(all.map(({ run_id, run_name }) => [run_id, run_name]));
          const rows = all.filter(
            (each) =>
              (run === null || each.run_id === run) &&
              `${each.name} ${each.run_name} ${each.sources.map(({ dataset_name }) => dataset_name).join(" ")}`
                .toLowerCase()
                .includes(words.toLowerCase().trim()),
          );
          const bytes = rows.reduce((sum, each) => sum + (each.available ? each.size_bytes : 0), 0);
          return (
            <>
              <Group mb="md" gap="sm">
                <TextInput
                  aria-label="Search checkpoints"
                  placeholder="Search name, run, data"
                  leftSection={<IconSearch size={16} />}
                  value={words}
                  onChange={(event) => change("q", event.currentTarget.value)}
                  w={260}
                  data-testid="checkpoints-search"
                />
                <Select
                  aria-label="Run"
                  placeholder="All runs"
                  clearable
                  searchable
                  w={240}
                  value={run}
                  onChange={(value) => change("run", value)}
                  data={[...runs].map(([value, label]) => ({ value, label }))}
                />
                <Switch
                  label="Include deleted"
                  checked={deleted}
                  onChange={(event) => change("deleted", event.currentTarget.checked ? "yes" : null)}
                  data-testid="checkpoints-deleted"
                />
                <Text size="sm" c="dimmed" ml="auto">
                  {plural(rows.length, "checkpoint")}, {formatBytes(bytes)} on disk
                </Text>
              </Group>
              <Card padding={0}>
                {rows.length === 0 ? (
                  <EmptyState icon={IconSearch} title="No checkpoint matches">
                    Change the search or the filter.
                  </EmptyState>
                ) : (
                  <DataTable
                    label="Checkpoints"
                    rows={rows}
                    columns={COLUMNS}
                    rowKey={(checkpoint) => checkpoint.id}
                    rowTestId="checkpoint-row"
                    minWidth={960}
                    onRowClick={(checkpoint) => void navigate(`/checkpoints/${checkpoint.id}`)}
                  />
                )}
              </Card>
            </>
          );
        }}
      </Loaded>
    </>
  );
}
