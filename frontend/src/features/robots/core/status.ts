import type { Robot } from "./hooks";

export interface Look {
  label: string;
  color: string;
  help: string;
}

/** How a robot's state is shown. Away goes before what it said last. */
export function lookOf({ present, status }: Pick<Robot, "status" | "present">): Look {
  if (!present)
    return {
      label: "away",
      color: "gray",
      help: "Its host has not been heard from for some seconds. A robot that loses the connection to its host holds its position by itself.",
    };
  switch (status.state) {
    case "stopped":
      return {
        label: "stopped",
        color: "red",
        help: `Stopped by ${status.stopped_by ?? "somebody"}${status.reason ? ` (${status.reason})` : ""}. Latched: it does not move until an operator re-arms it.`,
      };
    case "holding":
      return { label: "holding", color: "teal", help: "Ready; holds its position." };
    case "starting":
      return { label: "starting", color: "studio", help: "The robot is being connected." };
    case "fault":
      return {
        label: "fault",
        color: "orange",
        help: `${status.reason ?? "The robot failed"}. Its host tries again by itself.`,
      };
  }
}

/** What is wrong with a robot that is there, for people; null while all is well. */
export function troubleOf({ present, status }: Pick<Robot, "status" | "present">): string | null {
  if (!present) return null;
  if (status.state === "fault") return status.reason ?? "The robot failed.";
  return status.camera_fault ? `Cameras: ${status.camera_fault}` : null;
}
