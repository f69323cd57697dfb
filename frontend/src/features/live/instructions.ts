/** What one may ask of a task's policy. */
import type { Scene } from "./messages";

const SUGGESTIONS: Record<string, readonly string[]> = {
  transfer_cube: ["Transfer the red cube to the left arm."],
  insertion: ["Insert the red peg into the blue socket."],
  pick_colour: ["red", "green", "blue", "yellow"].map((colour) => `Pick up the ${colour} cube`),
};

/** The demo policy's: in a scene of its own task what that scene asks for, which another colour may not be in. */
export function demoSuggestions(
  demo: { task: string | null; instructions: readonly string[] },
  scene: Pick<Scene, "task" | "instruction"> | null,
): string[] {
  const own = scene !== null && scene.task === demo.task ? [scene.instruction] : [];
  return [...new Set([...own, ...demo.instructions])];
}

/** The scene's own instruction first, then others that its task knows. */
export function suggestions(scene: Pick<Scene, "task" | "instruction"> | null): string[] {
  if (scene === null) return [];
  return [...new Set([scene.instruction, ...(SUGGESTIONS[scene.task] ?? [])])];
}
