import { Anchor, Badge, Card, Grid, Group, SimpleGrid, Stack, Text } from "@mantine/core";
import { Link } from "react-router";

import type { Schema } from "@/api/client";
import { WatchDemoLink } from "@/features/live/core/WatchDemoLink";
import { useJobs } from "@/features/jobs/core/hooks";
import { JobActions } from "@/features/jobs/core/JobActions";
import { useRobots } from "@/features/robots/core/hooks";
import { lookOf } from "@/features/robots/core/status";
import { ErrorNote } from "@/ui/ErrorNote";
import { formatBytes, formatCount, formatNumber, plural } from "@/ui/format";
import { JobProgress } from "@/ui/JobProgress";
import { Loaded } from "@/ui/Loaded";
import { PageHeader } from "@/ui/PageHeader";
import { Section } from "@/ui/Section";
import { StateBadge } from "@/ui/StateBadge";
import { Time } from "@/ui/Time";

import { FirstSteps } from "./FirstSteps";
import { useFacts } from "./hooks";
import { firstSteps, type Facts } from "./steps";
import { StepsSkeleton } from "./StepsSkeleton";
import { StorageNotice } from "./StorageNotice";

export function HomePage() {
  const { facts, error, retry } = useFacts();
  return (
    <>
      <PageHeader
        title="Home"
        subtitle="Record, label, train, evaluate: the whole loop of a robot policy in one place."
        actions={<WatchDemoLink />}
      />
      <StorageNotice />
      <Grid>
        <Grid.Col span={{ base: 12, lg: 8 }}>
          <Stack>
            <ErrorNote error={error} retry={retry} />
            {facts ? <FirstSteps steps={firstSteps(facts)} /> : error === null && <StepsSkeleton />}
            {facts && <RecentRuns runs={facts.runs} />}
          </Stack>
        </Grid.Col>
        <Grid.Col span={{ base: 12, lg: 4 }}>
          <Stack>
            {facts && <Numbers facts={facts} />}
            <RunningNow />
            <Robots />
          </Stack>
        </Grid.Col>
      </Grid>
    </>
  );
}

function Numbers({ facts }: { facts: Facts }) {
  const { datasets, checkpoints } = facts;
  const sum = (of: (dataset: Schema<"DatasetOut">) => number) => datasets.reduce((total, each) => total + of(each), 0);
  const kept = checkpoints.filter(({ available }) => available);
  const numbers = [
    {
      to: "/datasets",
      value: formatCount(sum(({ episodes }) => episodes)),
      label: "episodes",
      more: `${formatCount(sum(({ labelled }) => labelled))} labelled`,
    },
    {
      to: "/checkpoints",
      value: formatCount(kept.length),
      label: "checkpoints",
      more: formatBytes(kept.reduce((total, each) => total + each.size_bytes, 0)),
    },
  ];
  return (
    <SimpleGrid cols={2}>
      {numbers.map(({ to, value, label, more }) => (
        <Card key={to} component={Link} to={to} td="none" c="inherit">
          <Text fz={26} fw={600} lh={1.1}>
            {value}
          </Text>
          <Text size="sm">{label}</Text>
          <Text size="xs" c="dimmed">
            {more}
          </Text>
        </Card>
      ))}
    </SimpleGrid>
  );
}

function RunningNow() {
  const jobs = useJobs({ active: true, limit: 10 });
  return (
    <Section title="Running now" data-testid="running-now">
      <Loaded query={jobs} lines={1}>
        {({ items, total }) =>
          items.length === 0 ? (
            <Text size="sm" c="dimmed">
              Nothing is running or waiting.
            </Text>
          ) : (
            <Stack gap="md">
              {items.map((job) => (
                <JobProgress key={job.id} job={job} titled actions={<JobActions job={job} />} />
              ))}
              {total > items.length && (
                <Anchor component={Link} to="/jobs?show=active" size="sm">
                  and {plural(total - items.length, "more job")}
                </Anchor>
              )}
            </Stack>
          )
        }
      </Loaded>
    </Section>
  );
}

function RecentRuns({ runs }: { runs: Facts["runs"] }) {
  if (runs.length === 0) return null;
  return (
    <Section
      title="Recent runs"
      data-testid="recent-runs"
      actions={
        <Anchor component={Link} to="/training" size="sm">
          All runs
        </Anchor>
      }
    >
      <Stack gap="sm">
        {runs.slice(0, 5).map((run) => (
          <Group key={run.id} justify="space-between" wrap="nowrap" gap="md">
            <div style={{ minWidth: 0 }}>
              <Anchor component={Link} to={`/training/${run.id}`} size="sm" fw={500}>
                {run.name}
              </Anchor>
              <Text size="xs" c="dimmed" truncate>
                stage {run.stage}, {run.sources.map(({ dataset_name }) => dataset_name).join(" + ")},{" "}
                {plural(run.checkpoints, "checkpoint")}, <Time value={run.created_at} />
              </Text>
            </div>
            <Group gap="sm" wrap="nowrap">
              {run.latest.loss !== undefined && (
                <Text size="xs" c="dimmed" style={{ whiteSpace: "nowrap", fontVariantNumeric: "tabular-nums" }}>
                  loss {formatNumber(run.latest.loss, 3)}
                </Text>
              )}
              <StateBadge state={run.job.state} cause={run.job.cause} />
            </Group>
          </Group>
        ))}
      </Stack>
    </Section>
  );
}

function Robots() {
  const robots = useRobots();
  return (
    <Section
      title="Robots"
      actions={
        <Anchor component={Link} to="/robots" size="sm">
          Cameras and stop
        </Anchor>
      }
    >
      <Loaded query={robots} lines={1}>
        {(list) =>
          list.length === 0 ? (
            <Text size="sm" c="dimmed">
              No robot has announced itself.
            </Text>
          ) : (
            <Stack gap="xs">
              {list.map((robot) => {
                const look = lookOf(robot);
                return (
                  <Group key={robot.name} justify="space-between" wrap="nowrap">
                    <Text size="sm" truncate>
                      <Anchor component={Link} to={`/live/${encodeURIComponent(robot.name)}`} size="sm">
                        {robot.name}
                      </Anchor>{" "}
                      <Text span size="xs" c="dimmed">
                        {robot.kind}
                      </Text>
                    </Text>
                    <Badge color={look.color} style={{ flexShrink: 0 }}>
                      {look.label}
                    </Badge>
                  </Group>
                );
              })}
            </Stack>
          )
        }
      </Loaded>
    </Section>
  );
}
