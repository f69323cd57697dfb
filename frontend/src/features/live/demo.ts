import { queryOptions, useMutation, useQuery } from "@tanstack/react-query";
import { useEffect, useEffectEvent, useState } from "react";
import { useLocation, useNavigate } from "react-router";

import { api, ok } from "@/api/client";
import { useCan } from "@/api/queries";
import { useTasksOf } from "@/features/robots/core/tasks";
import { useArm } from "@/features/robots/core/hooks";

import { demoWord, type DemoWord } from "./demoWords";
import { useLive, useLiveRobot, useNow, useSupervised } from "./hooks";

const demoQuery = queryOptions({
  queryKey: ["live", "demo"],
  queryFn: () => ok(api.GET("/api/live/demo")),
  staleTime: Infinity, // comes with the installation
});

/** The demo policy, if this installation has it. */
export function useDemo() {
  const { data } = useQuery(demoQuery);
  return data?.available
    ? { task: data.task ?? null, options: data.options ?? {}, instructions: data.instructions ?? [] }
    : null;
}

/** Somebody may ask for the demo soon: the robot's host loads its policy. That it did not does no harm. */
export function usePrepareDemo(robot: string | undefined): void {
  const operator = useCan("operator");
  const { mutate } = useMutation({
    mutationFn: (name: string) => ok(api.POST("/api/live/{robot}/prepare", { params: { path: { robot: name } } })),
  });
  useEffect(() => {
    if (operator && robot !== undefined) mutate(robot);
  }, [operator, robot, mutate]);
}

/** What a link to a live page carries for the demo to begin there. In the history, where no address can put it. */
export const BEGIN_DEMO = { demo: true };

/** Enough never to meet one twice, and short enough to be read. */
const SEEDS = 1_000_000;

/** A scene of the demo's task, new each time, and the demo policy in it, in place of whichever policy is there. */
export function useWatchDemo() {
  const demo = useDemo();
  const robot = useLiveRobot();
  const arm = useArm();
  const rollout = useSupervised("rollout");
  const tasks = useTasksOf(robot.name);
  const begin = async () => {
    if (!demo) return;
    const scene = demo.task !== null && {
      task: demo.task,
      seed: Math.floor(Math.random() * SEEDS),
      options: demo.options,
    };
    await rollout.start({
      demo: true,
      instruction: demo.instructions[0] ?? "Pick up the red cube",
      instead: true,
      ...(scene && { scene }),
    });
  };
  return {
    /** there is one, and this robot can show it */
    offered:
      useNow(({ status }) => status.simulated) === true &&
      demo !== null &&
      (demo.task === null || tasks.some(({ name }) => name === demo.task)),
    begin: () => void begin(), // what goes wrong is told by `error` and by the driver
    armAndBegin: () => arm.mutate(robot.name, { onSuccess: () => void begin() }),
    pending: rollout.isPending || arm.isPending,
    error: arm.error ?? rollout.error,
  };
}

/**
 * Whether whoever came here asked for the demo and has not got it yet. It begins by itself as soon as the robot is
 * free; what is in the way until then is a sentence.
 */
export function useDemoOnArrival(demo: Pick<ReturnType<typeof useWatchDemo>, "offered" | "begin">): {
  waiting: boolean;
  word: DemoWord;
} {
  const { state, pathname } = useLocation() as { state: unknown; pathname: string };
  const navigate = useNavigate();
  const [asked, setAsked] = useState(() => typeof state === "object" && state !== null && "demo" in state);
  const kind = useLive((live) => JSON.stringify(demoWord(live)));
  const word = JSON.parse(kind) as DemoWord;
  const settle = useEffectEvent(() => {
    void navigate(pathname, { replace: true, state: null });
    setAsked(false);
    if (word.kind === "free") demo.begin();
  });
  const settled = asked && demo.offered && (word.kind === "free" || word.kind === "acts");
  useEffect(() => {
    if (settled) settle();
  }, [settled]);
  return { waiting: asked, word };
}
