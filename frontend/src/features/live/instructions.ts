/** What one may ask of a task's policy. */
import type { Scene } from "./messages";

const SUGGESTIONS: Record<string, readonly string[]> = {
  transfer_cube: ["Transfer the red cube to the left arm."],
  insertion: ["Insert the red peg into the blue socket."],
  pick_colour: ["red", "green", "blue", "yellow"].map((colour) => `Pick up the ${colour} cube`),
};

/** The scene's own instruction first, then others that its task knows. */
export function suggestions(scene: Pick<Scene, "task" | "instruction"> | null): string[] {
  if (scene === null) return [];
  return [...new Set([scene.instruction, ...(SUGGESTIONS[scene.task] ?? [])])];
}
