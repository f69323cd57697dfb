import { queryOptions, useQuery } from "@tanstack/react-query";
import { useEffect, useEffectEvent } from "react";
import { useLocation, useNavigate } from "react-router";

import { api, ok } from "@/api/client";
import type { PickOptions } from "@/features/evaluations/tasks";

import { useNow, useVerb, useWatched } from "./hooks";
import type { Task } from "./messages";

const demoQuery = queryOptions({
  queryKey: ["live", "demo"],
  queryFn: () => ok(api.GET("/api/live/demo")),
  staleTime: Infinity, // comes with the installation
});

/** The demo policy, if this installation has it. */
export function useDemo() {
  const { data } = useQuery(demoQuery);
  return data?.available
    ? { task: data.task ?? null, level: data.level ?? null, instructions: data.instructions ?? [] }
    : null;
}

/** What a link to a live page carries for the demo to begin there. In the history, where no address can put it. */
export const BEGIN_DEMO = { demo: true };

/** Enough never to meet one twice, and short enough to be read. */
const SEEDS = 1_000_000;

/** A scene of the demo's task, new each time, and the demo policy in it. */
export function useWatchDemo() {
  const demo = useDemo();
  const scene = useVerb("scene");
  const rollout = useWatched("rollout");
  const begin = async () => {
    if (!demo) return;
    const seed = Math.floor(Math.random() * SEEDS);
    const after =
      demo.task === null
        ? null
        : await scene.mutateAsync({
            task: demo.task as Task,
            seed,
            ...(demo.level !== null && { pick: { level: demo.level as PickOptions["level"] } }),
          });
    const instruction = after?.scene?.instruction ?? demo.instructions[0] ?? "Pick up the red cube";
    await rollout.start({ demo: true, instruction });
  };
  return {
    /** there is one, and this robot can show it */
    offered: useNow(({ status }) => status.simulated) === true && demo !== null,
    begin: () => void begin().catch(() => undefined), // told by `error`
    pending: scene.isPending || rollout.isPending,
    error: scene.error ?? rollout.error,
  };
}

/** Begins the demo once if whoever came here asked for it, as soon as the robot is ready for it. */
export function useDemoOnArrival(demo: Pick<ReturnType<typeof useWatchDemo>, "offered" | "begin">): void {
  const { state, pathname } = useLocation() as { state: unknown; pathname: string };
  const navigate = useNavigate();
  const asked = typeof state === "object" && state !== null && "demo" in state;
  const ready = useNow(({ status, mode, policy }) => status.state === "holding" && mode === "idle" && policy === null);
  const begin = useEffectEvent(() => {
    void navigate(pathname, { replace: true, state: null });
    demo.begin();
  });
  const due = asked && ready === true && demo.offered;
  useEffect(() => {
    if (due) begin();
  }, [due]);
}
