import type { Robot } from "./hooks";

/** What a robot host says of itself; everything in it may be missing. */
export interface Status {
  state: string;
  cameras: string[];
  tickHz: number | null;
}

export function statusOf(robot: Pick<Robot, "status">): Status {
  const { state, cameras, tick_hz: tick } = robot.status;
  return {
    state: typeof state === "string" ? state : "unknown",
    cameras: Array.isArray(cameras) ? cameras.map(nameOf).filter((name) => name !== "") : [],
    tickHz: typeof tick === "number" ? tick : null,
  };
}

function nameOf(camera: unknown): string {
  if (typeof camera === "string") return camera;
  if (typeof camera === "object" && camera !== null && "name" in camera) return String(camera.name);
  return "";
}

export interface Look {
  label: string;
  color: string;
  help: string;
}

/** How a robot's state is shown. Away goes before what it said last. */
export function lookOf(robot: Pick<Robot, "status" | "present">): Look {
  if (!robot.present)
    return {
      label: "away",
      color: "gray",
      help: "Its host was not heard of for some seconds. A robot that loses its host's connection holds by itself.",
    };
  const { state } = statusOf(robot);
  if (state === "stopped")
    return { label: "stopped", color: "red", help: "Latched: it does not move until an operator re-arms it." };
  if (state === "holding") return { label: "holding", color: "teal", help: "Ready; keeps its position." };
  return { label: state, color: "studio", help: `The robot's host says: ${state}.` };
}
