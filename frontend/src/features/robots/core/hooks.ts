import { queryOptions, useMutation, useQuery } from "@tanstack/react-query";
import { useEffect, useState, type RefObject } from "react";

import { fetchOk, messageOf, ok, api, unreachable, type Schema } from "@/api/client";
import { queryClient } from "@/api/queries";

export type Robot = Schema<"RobotOut">;

export const robotsQuery = queryOptions({
  queryKey: ["robot", "list"],
  queryFn: () => ok(api.GET("/api/robots")),
  refetchInterval: 3_000, // presence ends by time, not by an event
});

export function useRobots() {
  return useQuery(robotsQuery);
}

function changed(robot: Robot): void {
  queryClient.setQueryData(robotsQuery.queryKey, (old) =>
    old?.map((each) => (each.name === robot.name ? robot : each)),
  );
}

/** The studio answers a stop within a quarter of a second; a network that swallows it has to be told soon. */
const STOP_ANSWER_MS = 2_000;

async function stopRobot(name: string): Promise<Robot> {
  const signal = AbortSignal.timeout(STOP_ANSWER_MS);
  try {
    return await ok(api.POST("/api/robots/{name}/stop", { params: { path: { name } }, signal }));
  } catch (error) {
    throw signal.aborted ? unreachable() : error;
  }
}

/** `failureReason` says at once that the first try failed; a stop is worth trying again, quickly. */
export function useStop() {
  return useMutation({ mutationFn: stopRobot, onSuccess: changed, retry: 2, retryDelay: 300 });
}

export function useArm() {
  return useMutation({
    mutationFn: (name: string) => ok(api.POST("/api/robots/{name}/arm", { params: { path: { name } } })),
    onSuccess: changed,
  });
}

/** Whether an element is in sight: on the screen, in a page that is at the front. */
export function useInSight(target: RefObject<Element | null>): boolean {
  const [onScreen, setOnScreen] = useState(false);
  const [atFront, setAtFront] = useState(() => document.visibilityState === "visible");
  useEffect(() => {
    const element = target.current;
    if (!element) return;
    const observer = new IntersectionObserver((entries) => setOnScreen(entries.at(-1)?.isIntersecting ?? false));
    const changed = () => setAtFront(document.visibilityState === "visible");
    observer.observe(element);
    document.addEventListener("visibilitychange", changed);
    return () => {
      observer.disconnect();
      document.removeEventListener("visibilitychange", changed);
    };
  }, [target]);
  return onScreen && atFront;
}

const FRAME_MS = 500;
const AFTER_ERROR_MS = 3_000;

function revokeLater(url: string, milliseconds: number): void {
  setTimeout(() => URL.revokeObjectURL(url), milliseconds);
}

/** The newest frame of a camera as an object URL, about twice a second while `active`; one request at a time. */
export function useCameraFrame(robot: string, camera: string, active: boolean) {
  const [image, setImage] = useState<string | null>(null);
  const [error, setError] = useState<string | null>(null);
  useEffect(() => {
    if (!active) return;
    const control = new AbortController();
    let shown: string | null = null;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const path = `/api/robots/${encodeURIComponent(robot)}/picture/${encodeURIComponent(camera)}`;
    const next = async () => {
      const started = performance.now();
      let pause = FRAME_MS;
      try {
        const response = await fetchOk(path, { signal: control.signal, cache: "no-store" });
        const fresh = URL.createObjectURL(await response.blob());
        setImage(fresh);
        setError(null);
        // the old one may still be on its way to the screen
        if (shown) revokeLater(shown, 1_000);
        shown = fresh;
      } catch (problem) {
        if (control.signal.aborted) return;
        setError(messageOf(problem));
        pause = AFTER_ERROR_MS;
      }
      timer = setTimeout(() => void next(), Math.max(0, pause - (performance.now() - started)));
    };
    void next();
    return () => {
      control.abort();
      clearTimeout(timer);
      if (shown) revokeLater(shown, 60_000);
    };
  }, [robot, camera, active]);
  return { image, error };
}
