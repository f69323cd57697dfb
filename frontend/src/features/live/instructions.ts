/** What one may ask of a task's policy. */
import { taskOf, type Task } from "@/features/robots/core/tasks";

import type { Scene } from "./messages";

/** The demo policy's: in a scene of its own task what that scene asks for, which another colour may not be in. */
export function demoSuggestions(
  demo: { task: string | null; instructions: readonly string[] },
  scene: Pick<Scene, "task" | "instruction"> | null,
): string[] {
  const own = scene !== null && scene.task === demo.task ? [scene.instruction] : [];
  return [...new Set([...own, ...demo.instructions])];
}

/** The scene's own instruction first, then others that its task knows. */
export function suggestions(scene: Pick<Scene, "task" | "instruction"> | null, tasks: readonly Task[]): string[] {
  if (scene === null) return [];
  return [...new Set([scene.instruction, ...(taskOf(tasks, scene.task)?.instructions ?? [])])];
}
