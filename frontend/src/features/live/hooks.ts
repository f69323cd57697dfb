import { useMutation } from "@tanstack/react-query";
import { createContext, use, useEffect, useState, useSyncExternalStore } from "react";

import { fetchOk } from "@/api/client";
import type { Options } from "@/features/robots/core/tasks";

import type { DriverView } from "./driver";
import type { Live } from "./live";
import type { LiveState, Status } from "./messages";
import { LiveRobot } from "./robot";

const Context = createContext<LiveRobot | null>(null);
export const LiveRobotProvider = Context;

/** The robot of the page. */
export function useLiveRobot(): LiveRobot {
  const robot = use(Context);
  if (!robot) throw new Error("useLiveRobot outside of a live page");
  return robot;
}

/** Sockets to a robot for as long as the page stands. */
export function useConnectedRobot(name: string): LiveRobot {
  const [robot] = useState(() => new LiveRobot(name));
  useEffect(() => {
    robot.start();
    return () => robot.stop();
  }, [robot]);
  return robot;
}

/** A part of what the state socket told; drawn again only when that part is another one. */
export function useLive<T>(select: (live: Live) => T): T {
  const robot = useLiveRobot();
  return useSyncExternalStore(robot.subscribe, () => select(robot.live));
}

/** A part of the robot's state; undefined before the first message. */
export function useNow<T>(select: (now: Status) => T): T | undefined {
  return useLive(({ now }) => (now ? select(now) : undefined));
}

export function useDriver<T>(select: (view: DriverView) => T): T {
  const { driver } = useLiveRobot();
  return useSyncExternalStore(driver.subscribe, () => select(driver.snapshot()));
}

/** Verbs of POST /api/live/ROBOT/VERB and what each takes. */
export interface Verbs {
  rollout: {
    checkpoint_id?: string;
    demo?: boolean;
    instruction: string;
    scene?: Verbs["scene"];
    instead?: boolean;
  };
  pause: null;
  resume: null;
  end: null;
  instruction: { instruction: string };
  scene: { task: string; seed: number; options?: Options };
  record: { dataset_id: string; instruction: string };
  save: { success: boolean | null };
  discard: null;
}

/** Ask for something; the answer is the state after it. */
export function useVerb<V extends keyof Verbs>(verb: V) {
  const robot = useLiveRobot();
  return useMutation({
    mutationFn: async (body: Verbs[V]) => {
      const response = await fetchOk(`/api/live/${encodeURIComponent(robot.name)}/${verb}`, {
        method: "POST",
        ...(body && { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }),
      });
      return (await response.json()) as LiveState;
    },
    onSuccess: robot.receive,
  });
}

/** Start or resume a policy under this page's eyes: its pulse comes first, and ends if the policy may not act. */
export function useSupervised<V extends "rollout" | "resume">(verb: V) {
  const { driver } = useLiveRobot();
  const asked = useVerb(verb);
  const start = (body: Verbs[V]): Promise<void> => {
    driver.setDriving(false);
    return driver.superviseStart(() => asked.mutateAsync(body)); // why not is in `error`
  };
  return { ...asked, start };
}
