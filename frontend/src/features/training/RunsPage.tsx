import { Anchor, Button, Card, Checkbox, Group, SegmentedControl, Select, Text } from "@mantine/core";
import { IconPlus, IconSearch, IconTrendingDown } from "@tabler/icons-react";
import { useState } from "react";
import { Link, useNavigate } from "react-router";

import type { Schema } from "@/api/client";
import { useWorkers } from "@/api/queries";
import { useCancelJob, useResumeJob } from "@/features/jobs/core/hooks";
import { confirm, notifyError } from "@/ui/confirm";
import { DataTable, type Column } from "@/ui/DataTable";
import { EmptyState } from "@/ui/EmptyState";
import { formatNumber, plural } from "@/ui/format";
import { JobProgress } from "@/ui/JobProgress";
import { countText, waitText } from "@/ui/jobText";
import { Loaded } from "@/ui/Loaded";
import { PageHeader } from "@/ui/PageHeader";
import { RoleButton } from "@/ui/RoleButton";
import { SearchField } from "@/ui/SearchField";
import { useFilters, useOrder, useWords } from "@/ui/search";
import { isOver } from "@/ui/StateBadge";
import { Time } from "@/ui/Time";
import { Tip } from "@/ui/Tip";

import { allRuns, useChosenRuns, useRuns, type Run } from "./hooks";
import { ASKED, cancellable, resumable, SHOWS } from "./runsLogic";
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

const STAGES = ["2", "3"] as const;

const COLUMNS: Column<Run>[] = [
  {
    key: "name",
    header: "Run",
    sort: true,
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
    sort: true,
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
  { key: "state", header: "State", width: 190, sort: true, cell: (run) => <Standing run={run} /> },
  {
    key: "loss",
    header: "Loss",
    width: 84,
    align: "right",
    sort: true,
    cell: (run) => (run.latest.loss === undefined ? "-" : formatNumber(run.latest.loss, 3)),
  },
  {
    key: "checkpoints",
    header: "Saved",
    width: 76,
    align: "right",
    sort: true,
    cell: (run) => (
      <Tip label={plural(run.checkpoints, "checkpoint")}>
        <span>{run.checkpoints}</span>
      </Tip>
    ),
  },
  {
    key: "created",
    header: "Started",
    width: 110,
    sort: true,
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
  const [search, change] = useFilters();
  const [order, sort, onOrder] = useOrder<Schema<"RunSort">>(COLUMNS);
  const words = useWords();
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const navigate = useNavigate();
  const show = SHOWS.find((each) => each === search.get("show")) ?? "all";
  const stage = STAGES.find((each) => each === search.get("stage")) ?? null;
  const filter = { ...ASKED[show], search: words || undefined, stage: stage === null ? undefined : Number(stage) };
  const runs = useRuns({ ...sort, ...filter });
  const picked = useChosenRuns([...chosen]).data?.filter(({ id }) => chosen.has(id)) ?? [];
  const all = show === "all" && stage === null && words === "";
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
      <Group mb="md" gap="sm">
        <SearchField label="Search runs" placeholder="Search name, data, preset" testId="runs-search" />
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
          data={STAGES.map((value) => ({ value, label: `Stage ${value}` }))}
        />
        <Group gap="xs" ml="auto" mih={36}>
          {picked.length > 0 ? (
            <Bulk picked={picked} clear={() => setChosen(new Set())} />
          ) : (
            runs.data && (
              <Text size="sm" c="dimmed">
                {plural(runs.data.total, "run")}
              </Text>
            )
          )}
        </Group>
      </Group>
      <Loaded query={runs} lines={6}>
        {({ rows, total, served }) => (
          <Card padding={0}>
            {total === 0 && all ? (
              <EmptyState icon={IconTrendingDown} title="No training yet" action={newRun}>
                A run teaches a policy the demonstrations of a dataset version. Start with stage 2 and the preset
                &quot;tiny&quot;: it takes minutes on a CPU and shows every step of the way.
              </EmptyState>
            ) : total === 0 ? (
              <EmptyState icon={IconSearch} title="No run matches">
                Change the search or the filter.
              </EmptyState>
            ) : (
              <DataTable
                label="Training runs"
                rows={rows}
                list={{ ...served, total, order, onOrder }}
                columns={[selecting(rows, total, chosen, setChosen, () => allRuns(filter)), ...COLUMNS]}
                rowKey={(run) => run.id}
                rowTestId="run-row"
                minWidth={1000}
                onRowClick={(run) => void navigate(`/training/${run.id}`)}
              />
            )}
          </Card>
        )}
      </Loaded>
    </>
  );
}

/** A column of boxes; that of the header takes all runs of the list, also those that were not looked at yet. */
function selecting(
  rows: readonly Run[],
  total: number,
  chosen: ReadonlySet<string>,
  onChange: (to: ReadonlySet<string>) => void,
  everyone: () => Promise<Run[]>,
): Column<Run> {
  const here = rows.every(({ id }) => chosen.has(id));
  const full = here && chosen.size >= total;
  return {
    key: "select",
    width: 40,
    header: (
      <Checkbox
        size="xs"
        aria-label="Select all runs"
        data-testid="runs-select"
        checked={full}
        indeterminate={!full && chosen.size > 0}
        onChange={() => {
          if (full) onChange(new Set());
          else
            everyone().then(
              (runs) => onChange(new Set([...chosen, ...runs.map(({ id }) => id)])),
              (error: unknown) => notifyError(error, "They were not selected"),
            );
        }}
      />
    ),
    cell: ({ id, name }) => (
      <Checkbox
        size="xs"
        aria-label={`Select ${name}`}
        data-testid="run-select"
        checked={chosen.has(id)}
        onChange={(event) =>
          onChange(
            event.currentTarget.checked ? new Set([...chosen, id]) : new Set([...chosen].filter((one) => one !== id)),
          )
        }
      />
    ),
  };
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
