import { Anchor, Card, Group, SegmentedControl, Select, Text } from "@mantine/core";
import { IconListDetails, IconSearch } from "@tabler/icons-react";
import { Link, useNavigate } from "react-router";

import type { Schema } from "@/api/client";
import { DataTable, type Column } from "@/ui/DataTable";
import { EmptyState } from "@/ui/EmptyState";
import { plural } from "@/ui/format";
import { JobProgress } from "@/ui/JobProgress";
import { countText, KINDS, waitText } from "@/ui/jobText";
import { Loaded } from "@/ui/Loaded";
import { PageHeader } from "@/ui/PageHeader";
import { SearchField } from "@/ui/SearchField";
import { useFilters, useOrder, useWords } from "@/ui/search";
import { Duration, Time } from "@/ui/Time";

import { useJobPages, type Job, type JobKind } from "./core/hooks";
import { JobActions } from "./core/JobActions";

/** What is worth a line below the title: what it does now, or what it did. */
function lineOf(job: Job): string {
  const count = countText(job);
  return job.state === "running" ? [count, job.note].filter(Boolean).join(" - ") : waitText(job) || count;
}

const COLUMNS: Column<Job>[] = [
  {
    key: "title",
    header: "Job",
    sort: true,
    cell: (job) => (
      <>
        <Anchor component={Link} to={`/jobs/${job.id}`} size="sm" fw={500}>
          {job.title}
        </Anchor>
        <Text size="xs" c={job.state === "failed" ? "var(--mantine-color-error)" : "dimmed"} lineClamp={1} maw="60ch">
          {(job.state === "failed" ? job.cause : "") || lineOf(job)}
        </Text>
      </>
    ),
  },
  { key: "kind", header: "Kind", width: 110, sort: true, cell: (job) => KINDS[job.kind] },
  { key: "state", header: "State", width: 220, cell: (job) => <JobProgress job={job} compact /> },
  {
    key: "created",
    header: "Created",
    width: 130,
    sort: true,
    cell: (job) => (
      <>
        <Time value={job.created_at} />
        <Text size="xs" c="dimmed" truncate maw={110}>
          {job.created_by_name && `by ${job.created_by_name}`}
        </Text>
      </>
    ),
  },
  {
    key: "took",
    header: "Time",
    width: 110,
    align: "right",
    cell: (job) => (job.started_at ? <Duration start={job.started_at} end={job.finished_at} /> : "-"),
  },
  { key: "actions", header: "", width: 100, align: "right", cell: (job) => <JobActions job={job} /> },
];

export function JobsPage() {
  const [search, change] = useFilters();
  const [order, sort, onOrder] = useOrder<Schema<"JobSort">>(COLUMNS);
  const words = useWords();
  const navigate = useNavigate();
  const active = search.get("show") === "active";
  const kind = (search.get("kind") as JobKind | null) ?? undefined;
  const jobs = useJobPages({ ...sort, search: words || undefined, kind, active });

  return (
    <>
      <PageHeader
        title="Jobs"
        subtitle="Everything that takes longer: recordings, imports, trainings, evaluations. One starts when a worker is free."
      />
      <Group mb="md" gap="sm">
        <SearchField label="Search jobs" placeholder="Search job, person" testId="jobs-search" />
        <SegmentedControl
          aria-label="Which jobs"
          data-testid="jobs-show"
          value={active ? "active" : "all"}
          onChange={(value) => change("show", value === "active" ? "active" : null)}
          data={[
            { value: "all", label: "All" },
            { value: "active", label: "Running and waiting" },
          ]}
        />
        <Select
          aria-label="Kind"
          placeholder="All kinds"
          clearable
          w={170}
          data-testid="jobs-kind"
          value={kind ?? null}
          onChange={(value) => change("kind", value)}
          data={Object.entries(KINDS).map(([value, label]) => ({ value, label }))}
        />
        {jobs.data && (
          <Text size="sm" c="dimmed" ml="auto">
            {plural(jobs.data.total, "job")}
          </Text>
        )}
      </Group>
      <Loaded query={jobs} lines={6}>
        {({ rows, total, served }) => (
          <Card padding={0}>
            {total > 0 ? (
              <DataTable
                label="Jobs"
                rows={rows}
                list={{ ...served, total, order, onOrder }}
                columns={COLUMNS}
                rowKey={(job) => job.id}
                rowTestId="job-row"
                minWidth={900}
                onRowClick={(job) => void navigate(`/jobs/${job.id}`)}
              />
            ) : words ? (
              <EmptyState icon={IconSearch} title="No job matches">
                Change the search or the filter.
              </EmptyState>
            ) : (
              <EmptyState
                icon={IconListDetails}
                title={active ? "Nothing is running or waiting" : kind ? "No job of this kind yet" : "No jobs yet"}
              >
                {active || kind ? (
                  "Change the filter above to see more."
                ) : (
                  <>
                    To start one, make a demo dataset from the{" "}
                    <Anchor component={Link} to="/">
                      home page
                    </Anchor>
                    .
                  </>
                )}
              </EmptyState>
            )}
          </Card>
        )}
      </Loaded>
    </>
  );
}
