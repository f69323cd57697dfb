import { Alert, Anchor, Group, Progress, Stack, Text } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import type { ReactNode } from "react";
import { Link } from "react-router";

import type { Schema } from "@/api/client";
import { useWorkers } from "@/api/queries";

import { countText, percentDone, waitText } from "./jobText";
import { isOver, StateBadge } from "./StateBadge";
import { Duration } from "./Time";

interface Props {
  job: Schema<"JobOut">;
  /** one line for tables: badge, bar and percent */
  compact?: boolean;
  /** show the title with a link to the job's page */
  titled?: boolean;
  /** on the job's own page: no link to it */
  onOwnPage?: boolean;
  /** the page tells elsewhere why it failed */
  causeElsewhere?: boolean;
  actions?: ReactNode;
}

const COLORS: Record<Schema<"JobState">, string> = {
  queued: "gray",
  running: "studio",
  cancelling: "orange",
  done: "teal",
  failed: "red",
  cancelled: "gray",
};

/** How far a job is: state, bar, what it does now, estimate, and why if it failed. Keeps its height while it runs. */
export function JobProgress({
  job,
  compact = false,
  titled = false,
  onOwnPage = false,
  causeElsewhere = false,
  actions,
}: Props) {
  const workers = useWorkers();
  const percent = percentDone(job);
  const bar = (
    <Progress
      value={percent ?? (job.state === "running" ? 100 : 0)}
      animated={job.state === "running" || job.state === "cancelling"}
      striped={job.state === "running" && percent === null}
      color={COLORS[job.state]}
      size={compact ? "sm" : "md"}
      aria-label={`Progress of ${job.title}`}
      style={compact ? { flex: 1, minWidth: 60 } : undefined}
    />
  );
  if (compact)
    return (
      <Group gap="xs" wrap="nowrap" data-testid="job-progress" data-job={job.id}>
        <StateBadge state={job.state} cause={job.cause} />
        {!isOver(job.state) && (
          <>
            {bar}
            <Text size="xs" c="dimmed" w={38} ta="right" style={{ fontVariantNumeric: "tabular-nums" }}>
              {percent === null ? "" : `${Math.floor(percent)} %`}
            </Text>
          </>
        )}
      </Group>
    );
  const left = [countText(job), job.note].filter(Boolean).join(" - ");
  const wait = waitText(job, workers);
  return (
    <Stack gap={6} data-testid="job-progress" data-job={job.id} aria-live="polite">
      <Group justify="space-between" gap="sm" wrap="nowrap">
        <Group gap="xs" wrap="nowrap" style={{ minWidth: 0 }}>
          <StateBadge state={job.state} cause={job.cause} />
          {titled && (
            <Anchor component={Link} to={`/jobs/${job.id}`} size="sm" fw={500} truncate>
              {job.title}
            </Anchor>
          )}
        </Group>
        {actions !== undefined && <div style={{ flexShrink: 0 }}>{actions}</div>}
      </Group>
      {bar}
      <Group justify="space-between" gap="0 var(--mantine-spacing-sm)" mih={20}>
        <Text size="xs" c="dimmed" truncate style={{ fontVariantNumeric: "tabular-nums" }}>
          {left || " "}
        </Text>
        <Text size="xs" c="dimmed">
          {wait ||
            (job.started_at && isOver(job.state) ? (
              <>
                took <Duration start={job.started_at} end={job.finished_at} />
              </>
            ) : null)}
        </Text>
      </Group>
      {job.state === "failed" && !causeElsewhere && <JobCause job={job} link={!onOwnPage} />}
      {job.state !== "failed" && job.cause !== null && (
        <Text size="xs" c="dimmed">
          {job.cause}
        </Text>
      )}
    </Stack>
  );
}

/** Why a job failed, where nobody can miss it. */
function JobCause({ job, link = true }: { job: Schema<"JobOut">; link?: boolean }) {
  return (
    <Alert
      color="red"
      icon={<IconAlertTriangle size={18} />}
      title="This job failed"
      role="alert"
      data-testid="job-cause"
    >
      <Text size="sm" style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}>
        {job.cause ?? "No reason was recorded; the end of its log says more."}
      </Text>
      {link && (
        <Anchor component={Link} to={`/jobs/${job.id}`} size="sm">
          Open its log
        </Anchor>
      )}
    </Alert>
  );
}
