import { confirm } from "@/ui/confirm";
import { RoleButton } from "@/ui/RoleButton";

import { useCancelJob, useResumeJob, type Job } from "./hooks";

/** Cancel while it is not over, resume after it failed or was cancelled. */
export function JobActions({ job, size = "xs" }: { job: Job; size?: string }) {
  const cancel = useCancelJob();
  const resume = useResumeJob();
  if (job.state === "queued" || job.state === "running" || job.state === "cancelling")
    return (
      <RoleButton
        needs="operator"
        size={size}
        variant="default"
        data-testid="job-cancel"
        loading={cancel.isPending}
        because={job.state === "cancelling" ? "It is being cancelled already." : null}
        onClick={() =>
          confirm({
            title: `Cancel "${job.title}"?`,
            children: CANCELLED[job.kind],
            confirm: "Cancel it",
            action: () => cancel.mutateAsync(job.id).catch(() => undefined),
          })
        }
      >
        Cancel
      </RoleButton>
    );
  if (job.state === "failed" || job.state === "cancelled")
    return (
      <RoleButton
        needs="operator"
        size={size}
        variant="light"
        data-testid="job-resume"
        loading={resume.isPending}
        onClick={() => resume.mutate(job.id)}
      >
        {job.state === "failed" ? "Try again" : "Resume"}
      </RoleButton>
    );
  return null;
}

const CANCELLED: Record<Job["kind"], string> = {
  train: "It stops at once. Checkpoints that were saved stay, and it can be resumed from the last one.",
  evaluate: "It stops at once. Rollouts that are finished stay; it can be resumed.",
  record: "It stops at once. Episodes that are complete stay in the dataset; it can be resumed.",
  import: "It stops at once. Episodes that were imported stay in the dataset; it can be resumed.",
  measure: "It stops at once. What was measured stays; it can be resumed.",
  export: "It stops at once and what was written is removed. It can be started again.",
  edit: "It stops at once and nothing of it is done; the episodes stay as they are. It can be started again.",
  init_model: "It stops at once and what was written so far of the model is removed.",
  preflight: "It stops at once. Nothing else changes.",
};
