import { Alert, Anchor, Box, Button, Card, Code, Grid, Group, Stack, Tabs, Text } from "@mantine/core";
import { IconAlertTriangle, IconCopy, IconTrash } from "@tabler/icons-react";
import { Link, useNavigate, useParams, useSearchParams } from "react-router";

import { ApiError } from "@/api/client";
import { useCheckpointsOf } from "@/features/checkpoints/core/hooks";
import { JobActions } from "@/features/jobs/core/JobActions";
import { JobLog } from "@/features/jobs/core/JobLog";
import { ConfirmButton } from "@/ui/ConfirmButton";
import { Copyable } from "@/ui/Copyable";
import { Facts } from "@/ui/Facts";
import { formatBytes, formatCount, formatNumber, plural, shortHash } from "@/ui/format";
import { JobProgress } from "@/ui/JobProgress";
import { Loaded } from "@/ui/Loaded";
import { PageHeader } from "@/ui/PageHeader";
import { RoleButton } from "@/ui/RoleButton";
import { Section } from "@/ui/Section";
import { isOver } from "@/ui/StateBadge";
import { Duration, Time } from "@/ui/Time";

import { adviceFor } from "./advice";
import { startText } from "./compare";
import { CurvesPanel } from "./CurvesPanel";
import { deleteRun, useRun, type RunDetail } from "./hooks";
import { PreflightReport } from "./PreflightReport";
import { RunCheckpoints } from "./RunCheckpoints";
import { RunData, RunSpec } from "./RunTabs";
import { Sources } from "./core/Sources";
import { StageBadge } from "./core/StageBadge";

const TABS = ["overview", "spec", "data", "log"] as const;

export function RunPage() {
  const { id = "" } = useParams();
  const query = useRun(id);
  return (
    <Loaded query={query} lines={8}>
      {(run) => <RunView run={run} missing={query.error instanceof ApiError && query.error.status === 404} />}
    </Loaded>
  );
}

function RunView({ run, missing }: { run: RunDetail; missing: boolean }) {
  const [search, setSearch] = useSearchParams();
  const tab = TABS.find((each) => each === search.get("tab")) ?? "overview";
  const live = !isOver(run.job.state);
  return (
    <>
      <PageHeader
        title={run.name}
        badge={<StageBadge stage={run.stage} />}
        path={[{ label: "Training", to: "/training" }]}
        subtitle={
          <>
            Started <Time value={run.created_at} />
            {run.created_by_name && ` by ${run.created_by_name}`}, from {startText(run)},{" "}
            {run.preset === null ? "without a preset" : `preset ${run.preset}`}
          </>
        }
        actions={!missing && <Actions run={run} />}
      />
      <Stack gap="md">
        {run.job.state === "failed" && <Failure run={run} />}
        <Standing run={run} />
        <Tabs
          value={tab}
          onChange={(value) =>
            setSearch(value === "overview" || value === null ? {} : { tab: value }, { replace: true })
          }
          keepMounted={false}
        >
          <Tabs.List mb="md">
            <Tabs.Tab value="overview" data-testid="tab-overview">
              Overview
            </Tabs.Tab>
            <Tabs.Tab value="spec" data-testid="tab-spec">
              Spec
            </Tabs.Tab>
            <Tabs.Tab value="data" data-testid="tab-data">
              Data
            </Tabs.Tab>
            <Tabs.Tab value="log" data-testid="tab-log">
              Log
            </Tabs.Tab>
          </Tabs.List>
          <Tabs.Panel value="overview">
            <Overview run={run} live={live} />
          </Tabs.Panel>
          <Tabs.Panel value="spec">
            <RunSpec run={run} />
          </Tabs.Panel>
          <Tabs.Panel value="data">
            <RunData run={run} />
          </Tabs.Panel>
          <Tabs.Panel value="log">
            <JobLog jobId={run.job.id} live={live} height="max(320px, calc(100vh - 400px))" />
          </Tabs.Panel>
        </Tabs>
      </Stack>
    </>
  );
}

function Actions({ run }: { run: RunDetail }) {
  const navigate = useNavigate();
  const own = useCheckpointsOf(run.id).data ?? [];
  const bytes = own.reduce((sum, { size_bytes }) => sum + size_bytes, 0);
  return (
    <>
      <JobActions job={run.job} size="sm" />
      <RoleButton
        needs="operator"
        variant="default"
        leftSection={<IconCopy size={16} />}
        data-testid="run-copy"
        onClick={() => void navigate(`/training/new?copy=${run.id}`)}
      >
        Copy
      </RoleButton>
      <ConfirmButton
        needs="operator"
        variant="default"
        leftSection={<IconTrash size={16} />}
        because={isOver(run.job.state) ? null : "It has not finished; cancel it first."}
        data-testid="run-delete"
        question={`Delete ${run.name}?`}
        explanation={
          own.length > 0
            ? `Its curves, its log and ${plural(own.length, "checkpoint")} (${formatBytes(bytes)}) are removed from the disk and cannot be brought back. Dataset versions, base models and evaluations stay.`
            : "Its curves and its log are removed and cannot be brought back. It has no checkpoints."
        }
        confirmLabel={own.length > 0 ? `Delete and free ${formatBytes(bytes)}` : "Delete"}
        action={async () => {
          await deleteRun(run.id);
          void navigate("/training");
        }}
      >
        Delete
      </ConfirmButton>
    </>
  );
}

/** Why it failed, where nobody can miss it, and what to do. */
function Failure({ run }: { run: RunDetail }) {
  const advice = adviceFor(run.job.cause);
  return (
    <Alert
      color="red"
      icon={<IconAlertTriangle size={20} />}
      title={run.job.done > 0 ? `It failed at step ${formatCount(run.job.done)}` : "It failed before the first step"}
      role="alert"
      data-testid="job-cause"
    >
      <Text size="sm" style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}>
        {run.job.cause ?? "No reason was recorded."}
      </Text>
      {advice && (
        <Text size="sm" mt={6}>
          {advice}
        </Text>
      )}
      <Group mt="sm" gap="xs">
        <Button component={Link} to="?tab=log" size="xs" variant="default">
          Read the log
        </Button>
      </Group>
    </Alert>
  );
}

function Standing({ run }: { run: RunDetail }) {
  const { job, latest } = run;
  const numbers: [string, string | null][] = [
    ["Loss", latest.loss === undefined ? null : formatNumber(latest.loss)],
    ["Held-out loss", latest.val_loss === undefined ? null : formatNumber(latest.val_loss)],
    ["Learning rate", latest.learning_rate === undefined ? null : formatNumber(latest.learning_rate, 3)],
    ["Samples per second", latest.samples_per_second === undefined ? null : formatNumber(latest.samples_per_second, 3)],
  ];
  return (
    <Card data-testid="run-state">
      <Grid align="center">
        <Grid.Col span={{ base: 12, md: 6, xl: 7 }}>
          <JobProgress job={job} causeElsewhere />
        </Grid.Col>
        <Grid.Col span={{ base: 12, md: 6, xl: 5 }}>
          <Group gap="xl" justify="flex-end">
            {numbers
              .filter(([, value]) => value !== null)
              .map(([label, value]) => (
                <Box key={label}>
                  <Text size="xs" c="dimmed">
                    {label}
                  </Text>
                  <Text fw={600} style={{ fontVariantNumeric: "tabular-nums" }}>
                    {value}
                  </Text>
                </Box>
              ))}
          </Group>
        </Grid.Col>
      </Grid>
    </Card>
  );
}

function Overview({ run, live }: { run: RunDetail; live: boolean }) {
  const every = run.spec.save_every;
  return (
    <Grid gap="md">
      <Grid.Col span={{ base: 12, lg: 7.5, xl: 8 }}>
        <CurvesPanel run={run} />
      </Grid.Col>
      <Grid.Col span={{ base: 12, lg: 4.5, xl: 4 }}>
        <Stack gap="md">
          <RunCheckpoints runId={run.id} live={live} saveEvery={typeof every === "number" ? every : undefined} />
          <Section title="About this run">
            <Facts
              facts={[
                ["Data", <Sources key="d" sources={run.sources} />],
                ["Started from", <Start key="s" run={run} />],
                [
                  "Time",
                  run.job.started_at && <Duration key="t" start={run.job.started_at} end={run.job.finished_at} />,
                ],
                ["Attempts", run.job.attempt > 0 ? run.job.attempt : null],
                ["Worker", run.job.owner],
                ["Program", run.git && <Copyable key="g" value={run.git} short={shortHash(run.git)} />],
                ["Run", <Code key="r">{run.id}</Code>],
              ]}
            />
          </Section>
          {run.preflight && (
            <Section title="Before the first step">
              <PreflightReport report={run.preflight} />
            </Section>
          )}
        </Stack>
      </Grid.Col>
    </Grid>
  );
}

function Start({ run }: { run: RunDetail }) {
  if (run.parent_id !== null)
    return (
      <Anchor component={Link} to={`/checkpoints/${run.parent_id}`} size="sm">
        {run.parent_name ?? "a checkpoint"}
      </Anchor>
    );
  return (
    <Anchor component={Link} to="/models" size="sm">
      {startText(run)}
    </Anchor>
  );
}
