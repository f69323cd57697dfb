import {
  Anchor,
  Button,
  Card,
  Checkbox,
  Group,
  SegmentedControl,
  Select,
  Text,
  TextInput,
  Tooltip,
} from "@mantine/core";
import { IconPlus, IconSearch, IconTrendingDown } from "@tabler/icons-react";
import { useState } from "react";
import { Link, useNavigate } from "react-router";

import { useWorkers } from "@/api/queries";
import { useCancelJob, useResumeJob } from "@/features/jobs/core/hooks";
import { confirm } from "@/ui/confirm";
import { DataTable, type Column } from "@/ui/DataTable";
import { EmptyState } from "@/ui/EmptyState";
import { formatNumber, plural } from "@/ui/format";
import { JobProgress } from "@/ui/JobProgress";
import { countText, waitText } from "@/ui/jobText";
import { Loaded } from "@/ui/Loaded";
import { PageHeader } from "@/ui/PageHeader";
import { RoleButton } from "@/ui/RoleButton";
import { useFilters } from "@/ui/search";
import { isOver } from "@/ui/StateBadge";
import { Time } from "@/ui/Time";

import { useRuns, type Run } from "./hooks";
import { activeFirst, cancellable, filtered, resumable, type Show } from "./runsLogic";
import { Sources } from "./core/Sources";
import { StageBadge } from "./core/StageBadge";

const MOST_COMPARED = 8;

/** What is going on, or how it ended, in one line below the bar. */
function Standing({ run }: { run: Run }) {
  const workers = useWorkers();
  const { job } = run;
  const text =
    job.state === "failed" || (job.state === "queued" && job.cause !== null)
      ? job.cause
      : isOver(job.state)
        ? countText(job)
        : [countText(job), waitText(job, workers)].filter(Boolean).join(", ");
  return (
    <>
      <JobProgress job={job} compact />
      <Text size="xs" c={job.state === "failed" ? "red" : "dimmed"} lineClamp={1} mt={2}>
        {text ?? ""}
      </Text>
    </>
  );
}

const COLUMNS: Column<Run>[] = [
  {
    key: "name",
    header: "Run",
    sort: (run) => run.name,
    cell: (run) => (
      <Group gap="xs" wrap="nowrap">
        <Anchor
          component={Link}
          to={`/training/${run.id}`}
          size="sm"
          fw={500}
          style={{ overflowWrap: "anywhere" }}
          data-testid="run-link"
        >
          {run.name}
        </Anchor>
      </Group>
    ),
  },
  {
    key: "stage",
    header: "Stage",
    width: 100,
    sort: (run) => run.stage,
    cell: (run) => (
      <>
        <StageBadge stage={run.stage} />
        <Text size="xs" c="dimmed" lineClamp={1} mt={2}>
          {run.preset ?? "no preset"}
        </Text>
      </>
    ),
  },
  { key: "data", header: "Data", width: 170, cell: (run) => <Sources sources={run.sources} /> },
  { key: "state", header: "State", width: 190, sort: (run) => run.job.state, cell: (run) => <Standing run={run} /> },
  {
    key: "loss",
    header: "Loss",
    width: 84,
    align: "right",
    sort: (run) => run.latest.loss,
    cell: (run) => (run.latest.loss === undefined ? "-" : formatNumber(run.latest.loss, 3)),
  },
  {
    key: "checkpoints",
    header: "Saved",
    width: 76,
    align: "right",
    sort: (run) => run.checkpoints,
    cell: (run) => (
      <Tooltip label={plural(run.checkpoints, "checkpoint")}>
        <span>{run.checkpoints}</span>
      </Tooltip>
    ),
  },
  {
    key: "created",
    header: "Started",
    width: 110,
    sort: (run) => run.created_at,
    cell: (run) => (
      <>
        <Time value={run.created_at} />
        <Text size="xs" c="dimmed" lineClamp={1}>
          {run.created_by_name && `by ${run.created_by_name}`}
        </Text>
      </>
    ),
  },
];

export function RunsPage() {
  const runs = useRuns();
  const [search, change] = useFilters();
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const navigate = useNavigate();
  const show = (search.get("show") as Show | null) ?? "all";
  const stage = search.get("stage");
  const words = search.get("q") ?? "";
  const newRun = (
    <RoleButton
      needs="operator"
      leftSection={<IconPlus size={16} />}
      data-testid="new-run"
      onClick={() => void navigate("/training/new")}
    >
      New run
    </RoleButton>
  );

  return (
    <>
      <PageHeader
        title="Training"
        subtitle="Runs of stage 2 and 3 with their curves and checkpoints. A run goes on when this page is closed."
        actions={newRun}
      />
      <Loaded query={runs} lines={6}>
        {(all) => {
          if (all.length === 0)
            return (
              <Card>
                <EmptyState icon={IconTrendingDown} title="No training yet" action={newRun}>
                  A run teaches a policy the demonstrations of a dataset version. Start with stage 2 and the preset
                  &quot;tiny&quot;: it takes minutes on a CPU and shows every step of the way.
                </EmptyState>
              </Card>
            );
          const rows = activeFirst(filtered(all, show, stage === null ? null : Number(stage), words));
          const picked = all.filter(({ id }) => chosen.has(id));
          const visible = rows.length > 0 && rows.every(({ id }) => chosen.has(id));
          const toggle = (ids: string[], on: boolean) =>
            setChosen((old) => {
              const next = new Set(old);
              for (const id of ids)
                if (on) next.add(id);
                else next.delete(id);
              return next;
            });
          const select: Column<Run> = {
            key: "select",
            width: 40,
            header: (
              <Checkbox
                size="xs"
                aria-label="Select all runs"
                checked={visible}
                indeterminate={!visible && rows.some(({ id }) => chosen.has(id))}
                onChange={(event) =>
                  toggle(
                    rows.map(({ id }) => id),
                    event.currentTarget.checked,
                  )
                }
              />
            ),
            cell: (run) => (
              <Checkbox
                size="xs"
                aria-label={`Select ${run.name}`}
                data-testid="run-select"
                checked={chosen.has(run.id)}
                onChange={(event) => toggle([run.id], event.currentTarget.checked)}
              />
            ),
          };
          return (
            <>
              <Group mb="md" gap="sm">
                <TextInput
                  aria-label="Search runs"
                  placeholder="Search name, data, preset"
                  leftSection={<IconSearch size={16} />}
                  value={words}
                  onChange={(event) => change("q", event.currentTarget.value)}
                  w={200}
                  data-testid="runs-search"
                />
                <SegmentedControl
                  aria-label="Which runs"
                  data-testid="runs-show"
                  value={show}
                  onChange={(value) => change("show", value === "all" ? null : value)}
                  data={[
                    { value: "all", label: "All" },
                    { value: "active", label: "Active" },
                    { value: "done", label: "Done" },
                    { value: "broken", label: "Failed or cancelled" },
                  ]}
                />
                <Select
                  aria-label="Stage"
                  placeholder="Any stage"
                  clearable
                  w={130}
                  value={stage}
                  onChange={(value) => change("stage", value)}
                  data={[
                    { value: "2", label: "Stage 2" },
                    { value: "3", label: "Stage 3" },
                  ]}
                />
                <Group gap="xs" ml="auto" mih={36}>
                  {picked.length > 0 && <Bulk picked={picked} clear={() => setChosen(new Set())} />}
                </Group>
              </Group>
              <Card padding={0}>
                {rows.length === 0 ? (
                  <EmptyState icon={IconSearch} title="No run matches">
                    {plural(all.length, "run")} in all. Change the search or the filter.
                  </EmptyState>
                ) : (
                  <DataTable
                    label="Training runs"
                    rows={rows}
                    columns={[select, ...COLUMNS]}
                    rowKey={(run) => run.id}
                    rowTestId="run-row"
                    minWidth={1000}
                    onRowClick={(run) => void navigate(`/training/${run.id}`)}
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

/** What can be done with the selected runs at once. */
function Bulk({ picked, clear }: { picked: readonly Run[]; clear: () => void }) {
  const navigate = useNavigate();
  const cancel = useCancelJob();
  const resume = useResumeJob();
  const stoppable = cancellable(picked);
  const again = resumable(picked);
  const each = (runs: readonly Run[], act: (id: string) => Promise<unknown>) =>
    Promise.allSettled(runs.map(({ job }) => act(job.id))).then(clear);
  return (
    <>
      <Text size="sm" c="dimmed">
        {picked.length} selected
      </Text>
      <Button
        size="xs"
        variant="light"
        disabled={picked.length < 2 || picked.length > MOST_COMPARED}
        data-testid="runs-compare"
        onClick={() => void navigate(`/training/compare?runs=${picked.map(({ id }) => id).join(",")}`)}
      >
        {picked.length > MOST_COMPARED ? `Compare (at most ${MOST_COMPARED})` : "Compare"}
      </Button>
      <RoleButton
        needs="operator"
        size="xs"
        variant="default"
        data-testid="runs-cancel"
        because={stoppable.length === 0 ? "None of the selected runs is queued or running." : null}
        onClick={() =>
          confirm({
            title: `Cancel ${plural(stoppable.length, "run")}?`,
            children: "They stop at once. Checkpoints that were saved stay, and each can be resumed from its last one.",
            confirm: "Cancel them",
            action: () => each(stoppable, (id) => cancel.mutateAsync(id)),
          })
        }
      >
        Cancel {stoppable.length || ""}
      </RoleButton>
      <RoleButton
        needs="operator"
        size="xs"
        variant="default"
        data-testid="runs-resume"
        because={again.length === 0 ? "None of the selected runs has failed or was cancelled." : null}
        onClick={() => void each(again, (id) => resume.mutateAsync(id))}
      >
        Resume {again.length || ""}
      </RoleButton>
      <Button size="xs" variant="subtle" color="gray" onClick={clear}>
        Clear
      </Button>
    </>
  );
}
