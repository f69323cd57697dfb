import { Anchor, Badge, Card, Group, Switch, Text } from "@mantine/core";
import { IconPackage, IconSearch } from "@tabler/icons-react";
import { Link, useNavigate } from "react-router";

import type { Schema } from "@/api/client";
import { RunSelect } from "@/features/training/core/RunSelect";
import { Sources } from "@/features/training/core/Sources";
import { StageBadge } from "@/features/training/core/StageBadge";
import { DataTable, type Column } from "@/ui/DataTable";
import { EmptyState } from "@/ui/EmptyState";
import { formatBytes, formatNumber, formatPercent, plural } from "@/ui/format";
import { Loaded } from "@/ui/Loaded";
import { PageHeader } from "@/ui/PageHeader";
import { SearchField } from "@/ui/SearchField";
import { useFilters, useOrder, useWords } from "@/ui/search";
import { Time } from "@/ui/Time";
import { Tip } from "@/ui/Tip";

import { CheckpointActions } from "./core/CheckpointActions";
import { useCheckpoints, type Checkpoint } from "./core/hooks";

const COLUMNS: Column<Checkpoint>[] = [
  {
    key: "run",
    header: "Checkpoint",
    sort: true,
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
    sort: true,
    cell: ({ stage }) => <StageBadge stage={stage} />,
  },
  { key: "data", header: "Trained on", width: 220, cell: ({ sources }) => <Sources sources={sources} /> },
  {
    key: "loss",
    header: "Held-out loss",
    width: 150,
    align: "right",
    sort: true,
    cell: ({ val_loss }) => (val_loss === null ? "-" : formatNumber(val_loss, 3)),
  },
  {
    key: "success",
    header: "Success",
    width: 110,
    align: "right",
    sort: true,
    cell: ({ best_success_rate, evaluations }) => (
      <Tip label={`The best of its closed-loop evaluations; ${plural(evaluations, "evaluation")} in all`}>
        <span>
          {best_success_rate === null ? "-" : formatPercent(best_success_rate)}
          {evaluations > 0 && (
            <Text size="xs" c="dimmed" style={{ whiteSpace: "nowrap" }}>
              {plural(evaluations, "evaluation")}
            </Text>
          )}
        </span>
      </Tip>
    ),
  },
  {
    key: "size",
    header: "Size",
    width: 90,
    align: "right",
    sort: true,
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
    sort: true,
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
  const [order, sort, onOrder] = useOrder<Schema<"CheckpointSort">>(COLUMNS);
  const words = useWords();
  const navigate = useNavigate();
  const deleted = search.get("deleted") !== null;
  const run = search.get("run");
  const query = useCheckpoints({
    ...sort,
    search: words || undefined,
    run_id: run ?? undefined,
    deleted: deleted || undefined,
  });
  const all = words === "" && run === null && !deleted;
  return (
    <>
      <PageHeader
        title="Checkpoints"
        subtitle="What trainings have saved: evaluate it, train on from it, or take it to a robot."
      />
      <Group mb="md" gap="sm">
        <SearchField label="Search checkpoints" placeholder="Search name, run, data" testId="checkpoints-search" />
        <RunSelect value={run} onChange={(value) => change("run", value)} />
        <Switch
          label="Include deleted"
          checked={deleted}
          onChange={(event) => change("deleted", event.currentTarget.checked ? "yes" : null)}
          data-testid="checkpoints-deleted"
        />
        {query.data && (
          <Text size="sm" c="dimmed" ml="auto">
            {plural(query.data.total, "checkpoint")}, {formatBytes(query.data.head.size_bytes ?? 0)} on disk
          </Text>
        )}
      </Group>
      <Loaded query={query} lines={6}>
        {({ rows, total, served }) => (
          <Card padding={0}>
            {total === 0 && all ? (
              <EmptyState icon={IconPackage} title="No checkpoint yet">
                A training saves them as it goes. Start one on the page{" "}
                <Anchor component={Link} to="/training">
                  Training
                </Anchor>
                .
              </EmptyState>
            ) : total === 0 ? (
              <EmptyState icon={IconSearch} title="No checkpoint matches">
                Change the search or the filter.
              </EmptyState>
            ) : (
              <DataTable
                label="Checkpoints"
                rows={rows}
                list={{ ...served, total, order, onOrder }}
                columns={COLUMNS}
                rowKey={(checkpoint) => checkpoint.id}
                rowTestId="checkpoint-row"
                minWidth={1060}
                onRowClick={(checkpoint) => void navigate(`/checkpoints/${checkpoint.id}`)}
              />
            )}
          </Card>
        )}
      </Loaded>
    </>
  );
}
