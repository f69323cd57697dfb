import type { Schema } from "@/api/client";
import { formatBytes, formatEstimate } from "@/ui/format";

interface Task {
  value: Schema<"AlohaTask">;
  label: string;
  name: string;
  help: string;
}

export const DEMO_TASKS: readonly [Task, ...Task[]] = [
  {
    value: "transfer_cube",
    label: "Transfer the cube",
    name: "Demo: transfer the cube",
    help: "The right arm picks up a cube and hands it to the left one.",
  },
  {
    value: "insertion",
    label: "Insert the peg",
    name: "Demo: insert the peg",
    help: "Each arm picks up a part; the peg goes into the socket in mid-air.",
  },
];

interface Picture {
  value: string;
  label: string;
  height: number;
  width: number;
}

export const PICTURE_SIZES = [
  { value: "160x120", label: "160 x 120 (fastest)", height: 120, width: 160 },
  { value: "320x240", label: "320 x 240", height: 240, width: 320 },
  { value: "640x480", label: "640 x 480 (as a real ALOHA)", height: 480, width: 640 },
] as const satisfies readonly Picture[];

const STEPS = 400;
const CAMERAS = 3;
/** Measured on the simulated ALOHA: JPEG bytes a pixel, and seconds an episode on one core with software rendering. */
const BYTES_A_PIXEL = 0.14;
const SECONDS_SIMULATION = 3;
const SECONDS_A_PIXEL = 2.5 / (320 * 240);

/** What a recording takes, roughly: "5 episodes of 400 steps: about 61.5 MiB, about 30 s". */
export function estimateDemo(episodes: number, { height, width }: Pick<Picture, "height" | "width">): string {
  if (!Number.isFinite(episodes) || episodes < 1) return "";
  const pixels = height * width;
  const bytes = episodes * STEPS * CAMERAS * pixels * BYTES_A_PIXEL;
  const seconds = episodes * (SECONDS_SIMULATION + pixels * SECONDS_A_PIXEL);
  return `Takes roughly ${formatBytes(bytes)} and ${formatEstimate(seconds).replace("about ", "")}.`;
}
