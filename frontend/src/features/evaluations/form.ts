import type { EvaluationIn } from "./core/hooks";
import { askedOptions, optionsOf, taskOf, type Options, type RobotKind } from "@/features/robots/core/tasks";

export type Kind = EvaluationIn["kind"];

/** What the form of a new evaluation holds. An empty text: the server's default. */
export interface Values {
  kind: Kind;
  checkpoint_id: string | null;
  robot: string;
  task: string;
  options: Options;
  episodes: number | string;
  seed: number | string;
  max_steps: number | string;
  execute_steps: number | string;
  inference_steps: number | string;
  instruction: string;
  version_id: string | null;
  held_out: boolean;
  stride: number | string;
}

/** What a link to the form carries in the history for another evaluation like one that there is. */
export interface Again {
  settings: Readonly<Record<string, unknown>>;
  version_id: string | null;
}

type Settings = Omit<Values, "kind" | "checkpoint_id" | "version_id">;

const PLAIN: Settings = {
  robot: "aloha_sim",
  task: "",
  options: {},
  episodes: 10,
  seed: 1000,
  max_steps: "",
  execute_steps: "",
  inference_steps: "",
  instruction: "",
  held_out: true,
  stride: 16,
};

/**
 * The form as an evaluation was asked for, so that another one differs in one thing; `before`: its settings. Without
 * one, with the robot that the checkpoint was trained for.
 */
export function asBefore(
  before: Readonly<Record<string, unknown>> | null,
  kinds: readonly RobotKind[],
  trainedFor: string | null,
): Settings {
  const plain = { ...PLAIN, ...robotFor(kinds, trainedFor) };
  if (before === null) return plain;
  const kept = Object.entries(before).filter(([name, value]) => name in PLAIN && value !== null);
  const settings = { ...plain, ...(Object.fromEntries(kept) as Partial<Settings>), options: askedOptions(before) };
  return taskOf(tasksOf(kinds, settings.robot), settings.task) ? settings : plain;
}

/** The robot that a checkpoint was trained for and its first task; the first robot where it is none that has tasks. */
export function robotFor(kinds: readonly RobotKind[], trainedFor: string | null): Pick<Settings, "robot" | "task"> {
  const kind = kinds.find(({ name }) => name === trainedFor) ?? kinds[0];
  return { robot: kind?.name ?? PLAIN.robot, task: kind?.tasks[0]?.name ?? "" };
}

export function tasksOf(kinds: readonly RobotKind[], robot: string): RobotKind["tasks"] {
  return kinds.find(({ name }) => name === robot)?.tasks ?? [];
}

export function request(values: Values, kinds: readonly RobotKind[]): EvaluationIn {
  const both = { checkpoint_id: values.checkpoint_id ?? "", inference_steps: number(values.inference_steps) };
  if (values.kind === "open_loop")
    return {
      kind: "open_loop",
      ...both,
      version_id: values.version_id ?? "",
      held_out: values.held_out,
      stride: number(values.stride) ?? 16,
    };
  return {
    kind: "closed_loop",
    ...both,
    robot: values.robot,
    task: values.task,
    options: optionsOf(taskOf(tasksOf(kinds, values.robot), values.task), values.options),
    episodes: number(values.episodes) ?? 10,
    seed: number(values.seed) ?? 1000,
    max_steps: number(values.max_steps),
    execute_steps: number(values.execute_steps),
    instruction: values.instruction.trim() || null,
  };
}

/** null for an input that was left empty: the server's default. */
function number(value: number | string): number | null {
  return typeof value === "number" ? value : null;
}
