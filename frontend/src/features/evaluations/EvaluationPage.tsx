import { Alert, Anchor, Card, Stack, Text } from "@mantine/core";
import { IconAlertTriangle, IconCopy, IconTrash } from "@tabler/icons-react";
import { Link, useNavigate, useParams } from "react-router";

import { JobActions } from "@/features/jobs/core/JobActions";
import { JobLog } from "@/features/jobs/core/JobLog";
import { ConfirmButton } from "@/ui/ConfirmButton";
import { JobProgress } from "@/ui/JobProgress";
import { Loaded } from "@/ui/Loaded";
import { PageHeader } from "@/ui/PageHeader";
import { RoleButton } from "@/ui/RoleButton";
import { Section } from "@/ui/Section";
import { isOver } from "@/ui/StateBadge";
import { Time } from "@/ui/Time";

import { ClosedLoop } from "./ClosedLoop";
import { what } from "./core/EvaluationsTable";
import type { Again } from "./form";
import { useKinds } from "@/features/robots/core/tasks";
import { deleteEvaluation, useEvaluation, type EvaluationDetail } from "./core/hooks";
import { OpenLoop } from "./OpenLoop";
import { closedLoop, listed, openLoop } from "./core/report";

export function EvaluationPage() {
  const { id = "" } = useParams();
  const query = useEvaluation(id);
  return (
    <Loaded query={query} lines={8}>
      {(evaluation) => <EvaluationView evaluation={evaluation} />}
    </Loaded>
  );
}

function EvaluationView({ evaluation }: { evaluation: EvaluationDetail }) {
  const { job } = evaluation;
  const live = !isOver(job.state);
  const kinds = useKinds();
  const closed = closedLoop(evaluation.report);
  const open = openLoop(evaluation.report);
  const seen = closed?.seeds_seen_in_training ?? [];
  const nothing = evaluation.outcomes.length === 0 && closed === null && open === null;
  return (
    <>
      <PageHeader
        title={evaluation.kind === "closed_loop" ? "Closed loop" : "Open loop"}
        path={[{ label: "Evaluations", to: "/evaluations" }]}
        subtitle={
          <>
            <Anchor component={Link} to={`/checkpoints/${evaluation.checkpoint_id}`} size="sm" underline="always">
              {evaluation.checkpoint_name}
            </Anchor>
            {": "}
            {what(evaluation, kinds)}, started <Time value={evaluation.created_at} />
            {evaluation.created_by_name && ` by ${evaluation.created_by_name}`}
          </>
        }
        actions={<Actions evaluation={evaluation} />}
      />
      <Stack gap="md">
        {job.state !== "done" && (
          <Card>
            <JobProgress job={job} />
          </Card>
        )}
        {seen.length > 0 && (
          <Alert
            color="orange"
            icon={<IconAlertTriangle size={18} />}
            title="Seeds that were seen in training"
            data-testid="seeds-seen"
          >
            {seen.length === 1 ? "Seed" : "Seeds"} {listed(seen)} {seen.length === 1 ? "is" : "are"} of demonstrations
            that this checkpoint was trained on. The success rate says less about new situations than it seems to;
            evaluate with other seeds.
          </Alert>
        )}
        {evaluation.kind === "closed_loop" ? (
          <ClosedLoop evaluation={evaluation} report={closed} />
        ) : (
          open && <OpenLoop evaluation={evaluation} report={open} />
        )}
        {nothing && live && (
          <Text size="sm" c="dimmed">
            {evaluation.kind === "closed_loop"
              ? "Episodes appear here one by one, each with its video."
              : "The comparison appears here when the replay is done."}
          </Text>
        )}
        {job.state === "failed" && (
          <Section title="Log">
            <JobLog jobId={job.id} live={false} height={280} />
          </Section>
        )}
      </Stack>
    </>
  );
}

function Actions({ evaluation }: { evaluation: EvaluationDetail }) {
  const navigate = useNavigate();
  const over = isOver(evaluation.job.state);
  return (
    <>
      <JobActions job={evaluation.job} size="sm" />
      <RoleButton
        needs="operator"
        variant="default"
        leftSection={<IconCopy size={16} />}
        data-testid="evaluation-again"
        onClick={() =>
          void navigate(`/evaluations/new?checkpoint=${evaluation.checkpoint_id}&kind=${evaluation.kind}`, {
            state: { settings: evaluation.settings, version_id: evaluation.version_id } satisfies Again,
          })
        }
      >
        Run again
      </RoleButton>
      <ConfirmButton
        needs="operator"
        variant="default"
        leftSection={<IconTrash size={16} />}
        because={over ? null : "It has not finished; cancel it first."}
        data-testid="evaluation-delete"
        question="Delete this evaluation?"
        explanation="Its figures, videos and plots are removed and cannot be brought back. The checkpoint stays."
        confirmLabel="Delete"
        action={async () => {
          await deleteEvaluation(evaluation.id);
          void navigate("/evaluations");
        }}
      >
        Delete
      </ConfirmButton>
    </>
  );
}
