import type { Job } from "./core/hooks";

/** The page of what a job works on: its label and address, or null where there is none. */
export function subjectOf(job: Pick<Job, "kind" | "subject_id">): { label: string; to: string } | null {
  switch (job.kind) {
    case "record":
    case "import":
    case "measure":
    case "export":
    case "edit":
      return job.subject_id ? { label: "Open the dataset", to: `/datasets/${job.subject_id}` } : null;
    case "train":
      return job.subject_id ? { label: "Open the run", to: `/training/${job.subject_id}` } : null;
    case "evaluate":
      return job.subject_id ? { label: "Open the evaluation", to: `/evaluations/${job.subject_id}` } : null;
    case "init_model":
      return { label: "Open the base models", to: "/models" };
    case "preflight":
      return null;
  }
}
