import type { Schema } from "@/api/client";
import { plural } from "@/ui/format";

type Job = Schema<"JobOut">;

/** What the first steps are judged by; all of it is asked of the API, nothing is remembered in the browser. */
export interface Facts {
  datasets: readonly Schema<"DatasetOut">[];
  versions: readonly Schema<"VersionOut">[];
  models: readonly Schema<"ModelOut">[];
  runs: readonly Schema<"RunOut">[];
  checkpoints: readonly Schema<"CheckpointOut">[];
  evaluations: readonly Schema<"EvaluationOut">[];
  /** newest first */
  jobs: readonly Job[];
}

export type StepId = "data" | "label" | "version" | "model" | "stage2" | "stage3" | "evaluate" | "download";

export interface Step {
  id: StepId;
  title: string;
  text: string;
  /** done; under way; ready to be done; waiting for an earlier one */
  state: "done" | "running" | "ready" | "later";
  /** what is under way for it, or what failed last */
  job: Job | null;
  /** where to do it, or where to see what was done; null: done in place, or not yet possible */
  to: string | null;
  /** what the link or button says */
  action: string;
}

const ACTIVE = new Set<Job["state"]>(["queued", "running", "cancelling"]);

/** A job that is under way, else the newest one if that failed. */
function currentJob(jobs: readonly Job[]): Job | null {
  const active = jobs.find((job) => ACTIVE.has(job.state));
  if (active) return active;
  return jobs[0]?.state === "failed" ? jobs[0] : null;
}

interface Draft extends Omit<Step, "state"> {
  done: boolean;
  possible: boolean;
}

/** A newcomer's way through the loop, each step with its state as the data says. */
export function firstSteps(facts: Facts): Step[] {
  const { datasets, versions, models, runs, checkpoints, evaluations, jobs } = facts;
  const dataset = datasets.find(({ episodes }) => episodes > 0);
  // the one that most needs a person
  const unlabelled = datasets.find(({ episodes, labelled }) => episodes > labelled) ?? dataset;
  const labelled = datasets.find((each) => each.labelled > 0);
  const version = versions[0];
  const backbone = models.find(({ kind, available }) => kind === "backbone" && available);
  const saved = (stage: number) => checkpoints.find((each) => each.stage === stage);
  const runOf = (stage: number) => runs.filter((run) => run.stage === stage);
  const stage2 = saved(2);
  const stage3 = saved(3);
  const best = [stage3, stage2].find((each) => each?.available);
  const finished = evaluations.find(({ job }) => job.state === "done");

  const drafts: Draft[] = [
    {
      id: "data",
      title: "Create a demo dataset",
      text: dataset
        ? `${dataset.name}: ${plural(dataset.episodes, "episode")}.`
        : "A scripted expert drives the simulated ALOHA; no robot and no download needed.",
      done: dataset !== undefined,
      possible: true,
      job: currentJob(jobs.filter(({ kind }) => kind === "record")),
      to: dataset ? `/datasets/${dataset.id}` : null,
      action: dataset ? "Open it" : "Create a demo dataset",
    },
    {
      id: "label",
      title: "Look and label",
      text: "Watch an episode step by step, name its substeps, publish the labels.",
      done: labelled !== undefined,
      possible: dataset !== undefined,
      job: null,
      to: unlabelled ? (labelled ? `/datasets/${labelled.id}` : episodeOf(unlabelled)) : null,
      action: labelled ? "Open the episodes" : "Open an episode",
    },
    {
      id: "version",
      title: "Publish a version",
      text: version
        ? `${version.dataset_name} version ${version.number}: ${plural(version.episodes, "episode")}.`
        : "Freezes episodes and labels, so that a training can be repeated exactly.",
      done: version !== undefined,
      possible: labelled !== undefined,
      job: null,
      to: version ? `/datasets/${version.dataset_id}` : labelled ? `/datasets/${labelled.id}` : null,
      action: version ? "Open it" : "Open the dataset",
    },
    {
      id: "model",
      title: "Get a base model",
      text: backbone
        ? `${backbone.name} is ready.`
        : "A tiny one with random weights trains on any CPU; real ones are registered under Base models.",
      done: backbone !== undefined,
      possible: true,
      job: currentJob(jobs.filter(({ kind }) => kind === "init_model")),
      to: backbone ? "/models" : null,
      action: backbone ? "See the models" : "Make a tiny base model",
    },
    {
      id: "stage2",
      title: "Train stage 2",
      text: "Teaches the model to act on your robot and to say what it is doing.",
      done: stage2 !== undefined,
      possible: version !== undefined && backbone !== undefined,
      job: currentJob(runOf(2).map(({ job }) => job)),
      to: runLink(stage2, runOf(2), "/training/new?stage=2"),
      action: (stage2 ?? runOf(2).length > 0) ? "Open the run" : "Start a run",
    },
    {
      id: "stage3",
      title: "Train stage 3",
      text: "Goes on from the stage 2 checkpoint, on the task you want it to do well.",
      done: stage3 !== undefined,
      possible: stage2 !== undefined,
      job: currentJob(runOf(3).map(({ job }) => job)),
      to: runLink(stage3, runOf(3), `/training/new?stage=3${stage2 ? `&checkpoint=${stage2.id}` : ""}`),
      action: (stage3 ?? runOf(3).length > 0) ? "Open the run" : "Start a run",
    },
    {
      id: "evaluate",
      title: "Evaluate",
      text: "Lets the checkpoint drive the simulated robot: success rate, reward and a video of each try.",
      done: finished !== undefined,
      possible: best !== undefined && stage3 !== undefined,
      job: currentJob(evaluations.map(({ job }) => job)),
      to: finished
        ? `/evaluations/${finished.id}`
        : evaluations[0]
          ? `/evaluations/${evaluations[0].id}`
          : best
            ? `/evaluations/new?checkpoint=${best.id}`
            : null,
      action: (finished ?? evaluations[0]) ? "Open the evaluation" : "Evaluate it",
    },
  ];
  const steps = drafts.map(({ done, possible, ...step }): Step => {
    const running = step.job !== null && ACTIVE.has(step.job.state);
    const state = done ? "done" : running ? "running" : possible ? "ready" : "later";
    return { ...step, state, job: done && !running ? null : step.job, to: done || possible ? step.to : null };
  });
  // a download leaves no trace here: it counts as done once there is something to take and everything before is done
  const before = steps.every(({ state }) => state === "done");
  return [
    ...steps,
    {
      id: "download",
      title: "Take it with you",
      text: "Download the checkpoint as files or as one archive, or serve it to a robot.",
      state: before && best ? "done" : best && stage3 ? "ready" : "later",
      job: null,
      to: best && stage3 ? `/checkpoints/${best.id}` : null,
      action: "Open the checkpoint",
    },
  ];
}

function episodeOf(dataset: Schema<"DatasetOut">): string {
  return dataset.cover_episode_id ? `/episodes/${dataset.cover_episode_id}` : `/datasets/${dataset.id}`;
}

function runLink(saved: Schema<"CheckpointOut"> | undefined, runs: readonly Schema<"RunOut">[], fresh: string): string {
  const id = saved?.run_id ?? runs[0]?.id;
  return id ? `/training/${id}` : fresh;
}

/** The step that a person should take now: the first that is ready, or else the first under way. */
export function nextStep(steps: readonly Step[]): StepId | null {
  return (steps.find(({ state }) => state === "ready") ?? steps.find(({ state }) => state === "running"))?.id ?? null;
}
