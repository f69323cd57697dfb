import { screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";

import type { Task } from "@/features/robots/core/tasks";
import { show } from "@/ui/testing";

import type { Scene } from "./messages";
import { ScenePanel } from "./ScenePanel";

const SCENE: Scene = {
  task: "reach",
  options: { colour: "blue", distance: 0.2 },
  seed: 3,
  instruction: "Reach it.",
  reward: 0,
  success: false,
  wrong: null,
  trouble: null,
};
const COLOUR: Task["fields"][number] = {
  name: "colour",
  label: "Target",
  help: "",
  kind: "text",
  default: "red",
  optional: false,
  choices: [],
  demonstrations: "red",
  in_demonstrations: true,
};
const task = (name: string): Task => ({ name, title: name, dataset: null, instructions: [], fields: [COLOUR] });

const held = vi.hoisted(() => ({ tasks: [] as unknown[], scene: null, begin: vi.fn() }));
vi.mock("./hooks", () => ({
  useLiveRobot: () => ({ name: "bench" }),
  useNow: (select: (now: unknown) => unknown) => select({ scene: held.scene }),
}));
vi.mock("./scene", async (original) => ({
  ...(await original<object>()),
  useNewScene: () => ({ begin: held.begin, pending: false, obstacle: null, error: null }),
}));
vi.mock("@/features/robots/core/tasks", async (original) => ({
  ...(await original<object>()),
  useTasksOf: () => held.tasks,
}));

async function newScene() {
  held.begin.mockReset().mockResolvedValue(true);
  await userEvent.click(screen.getByTestId("live-new-scene"));
  return held.begin.mock.calls[0]?.[0] as unknown;
}

test("while the tasks are not known yet, the next scene has the options of this one", async () => {
  Object.assign(held, { tasks: [], scene: SCENE });
  show(<ScenePanel />);
  expect(await newScene()).toEqual({ task: "reach", seed: 4, options: SCENE.options });
});

test("another task begins with its own options, also those of the same name", async () => {
  Object.assign(held, { tasks: [task("reach"), task("push")], scene: SCENE });
  show(<ScenePanel />);
  await userEvent.clear(screen.getByTestId("live-colour"));
  await userEvent.type(screen.getByTestId("live-colour"), "green");
  expect(await newScene()).toEqual({ task: "reach", seed: 4, options: { colour: "green" } });
  await userEvent.click(screen.getByTestId("live-task"));
  await userEvent.click(screen.getByRole("option", { name: "push" }));
  expect(await newScene()).toEqual({ task: "push", seed: 4, options: { colour: "red" } });
});

test("a robot that cannot say how its task stands is told about", () => {
  Object.assign(held, { tasks: [], scene: { ...SCENE, trouble: "bench_arm cannot tell" } });
  show(<ScenePanel />);
  expect(screen.getByTestId("live-scene-trouble").textContent).toBe("bench_arm cannot tell");
});
