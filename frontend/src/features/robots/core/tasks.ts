/** Tasks of simulated robots and their options, as the robots themselves describe them. */
import { queryOptions, useQuery } from "@tanstack/react-query";

import { api, ok, type Schema } from "@/api/client";

export type RobotKind = Schema<"RobotKindOut">;
export type Task = Schema<"TaskDescription">;
export type Field = Schema<"FormField">;
export type Value = boolean | number | string | null;
export type Options = Readonly<Record<string, Value>>;

// no key begins with a topic of the studio's events: what a robot is does not change with what it does
export const kindsQuery = queryOptions({
  queryKey: ["robot-kinds"],
  queryFn: () => ok(api.GET("/api/robots/kinds")),
  staleTime: Infinity, // comes with the installation
});

/** Robots that demonstrations and evaluations may choose from; empty until they are known. */
export function useKinds(): readonly RobotKind[] {
  return useQuery(kindsQuery).data ?? [];
}

export const tasksQuery = (robot: string) =>
  queryOptions({
    queryKey: ["robot-tasks", robot],
    queryFn: () => ok(api.GET("/api/live/{robot}/tasks", { params: { path: { robot } } })),
    staleTime: 60_000,
    refetchInterval: ({ state }) => (state.data === undefined ? 2_000 : false), // its host may be away now
  });

/** What a robot that is there can set up, as its host says; nothing until it is known. */
export function useTasksOf(robot: string): readonly Task[] {
  return useQuery(tasksQuery(robot)).data?.tasks ?? [];
}

/** How many arms of a robot the keys drive; two until it is known. */
export function useArmsOf(robot: string): number {
  return useQuery(tasksQuery(robot)).data?.arms ?? 2;
}

/** The task by name, the first one without a name. */
export function taskOf(tasks: readonly Task[], name: string): Task | undefined {
  return tasks.find((task) => task.name === name) ?? (name === "" ? tasks[0] : undefined);
}

/** What a number field may hold, as its input takes it. */
export function boundsOf(field: Field) {
  return {
    min: field.low ?? undefined,
    max: field.high ?? undefined,
    above: field.above ?? undefined,
    below: field.below ?? undefined,
  };
}

/** The fields that are asked for; demonstrations ask for fewer. */
export function fieldsAsked(task: Task | undefined, demonstrations = false): readonly Field[] {
  return (task?.fields ?? []).filter((field) => !demonstrations || field.in_demonstrations);
}

/** The options that a task has, as they are chosen and as they are by default where they are not. */
export function optionsOf(task: Task | undefined, chosen: Options, demonstrations = false): Options {
  return Object.fromEntries(
    (task?.fields ?? []).map((field) => {
      const plain = demonstrations ? (field.demonstrations ?? field.default) : field.default;
      const found = chosen[field.name];
      return [field.name, found === undefined || (found === null && !field.optional) ? (plain ?? null) : found];
    }),
  );
}

/** What was asked of a task: its options, and those of the one task that had some in earlier versions. */
export function askedOptions(settings: Readonly<Record<string, unknown>>): Options {
  const found = settings.options ?? (settings.task === "pick_colour" ? settings.pick : undefined);
  return typeof found === "object" && found !== null ? (found as Options) : {};
}

/** "jitter, held out, the other cube named": the first choice, and whatever differs from the plain task. */
export function optionsText(task: Task | undefined, options: Options): string {
  return (task?.fields ?? [])
    .flatMap((field, index) => {
      const value = options[field.name] ?? field.default;
      if (field.kind === "flag") return value === true ? [field.said ?? field.label.toLowerCase()] : [];
      if (value === null || (value === field.default && index > 0)) return [];
      if (field.kind === "choice") return [String(value).replaceAll("_", " ")];
      return [`${field.label.toLowerCase()} ${String(value)}${field.unit ? ` ${field.unit}` : ""}`];
    })
    .join(", ");
}
