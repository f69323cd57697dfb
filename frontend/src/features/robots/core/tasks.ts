import type { Schema } from "@/api/client";

export type Task = Schema<"AlohaTask">;
export type PickOptions = Schema<"PickColourOptions">;

/** Tasks of the simulated robot, for people. */
export const TASKS: Record<string, string> = {
  transfer_cube: "Transfer the cube",
  insertion: "Insert the peg",
  pick_colour: "Pick the named cube",
} satisfies Record<Task, string>;

/** Where the cubes of pick_colour lie. */
export const LEVELS: Record<PickOptions["level"], string> = {
  spots: "Two cubes, two spots",
  jitter: "Two cubes, within 3 cm of their spots",
  anywhere: "Three cubes, anywhere",
};

/** Which places and phrasings pick_colour draws from. */
export const SPLITS: Record<PickOptions["split"], string> = {
  any: "Any place",
  training: "Those for training",
  held_out: "Those held out",
};

/** What demonstrations are recorded with at first, so that an evaluation can ask for what none of them showed. */
export const TRAINING_PICK: PickOptions = { level: "spots", split: "training", swapped: false };

/** What the server takes for granted, and the only thing that it takes for the other tasks. */
export const PLAIN_PICK: PickOptions = { level: "spots", split: "any", swapped: false };

/** Options of a task as they are sent. */
export function pickOf(task: string, pick: PickOptions): PickOptions {
  return task === "pick_colour" ? pick : PLAIN_PICK;
}

/** "jitter, held out, the other cube named" for what differs from the plain task; empty for other tasks. */
export function pickText(task: unknown, pick: unknown): string {
  if (task !== "pick_colour" || typeof pick !== "object" || pick === null) return "";
  const { level, split, swapped } = pick as Partial<PickOptions>;
  return [
    level,
    split === "held_out" ? "held out" : split === "training" ? "of training" : undefined,
    swapped ? "the other cube named" : undefined,
  ]
    .filter(Boolean)
    .join(", ");
}
