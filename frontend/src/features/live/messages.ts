/** What page and robot host say to each other over the live sockets: backend/live/messages.py, in TypeScript. */
import type { Schema } from "@/api/client";

export type Task = Schema<"AlohaTask">;
export type Mode = "idle" | "policy" | "paused" | "drive";

export interface Reasoning {
  step: number;
  text: string;
  /** false while it is still being generated */
  done: boolean;
}

export interface Policy {
  name: string;
  checkpoint_id: string | null;
  instruction: string;
  reasoning: Reasoning | null;
  /** from observation to chunk in hand, of the last chunk */
  latency_ms: number | null;
  chunks: number;
  /** steps in which the robot held because no chunk had come */
  late_steps: number;
  /** why the newest chunk was refused */
  refused: string | null;
  /** false while the policy's process is being started */
  ready: boolean;
}

export interface Recording {
  dataset_id: string;
  steps: number;
  seconds: number;
  /** pictures of each camera that could not be kept */
  dropped: Record<string, number>;
  saving: boolean;
}

export interface Saved {
  episode_id: string | null;
  dataset_id: string;
  steps: number;
  error: string | null;
}

export interface Scene {
  task: Task;
  level: string | null;
  seed: number;
  instruction: string;
  reward: number;
  success: boolean;
  /** another object than the named one was lifted */
  wrong: boolean | null;
}

/** Telemetry of N consecutive control steps. */
export interface Samples {
  step: number[];
  /** seconds of the host's monotonic clock */
  time: number[];
  /** (N, S) */
  state: number[][];
  /** (N, A), what was sent */
  action: number[][];
  chunk_step: number | null;
  /** (T, A) from chunk_step on */
  chunk: number[][] | null;
}

/** Everything the page shows but pictures and curves. */
export interface Status {
  status: Schema<"HostStatus">;
  mode: Mode;
  /** why the robot holds although somebody wants it to move */
  why: string | null;
  /** who holds the control socket */
  holder: string | null;
  policy: Policy | null;
  recording: Recording | null;
  saved: Saved | null;
  scene: Scene | null;
  joint_names: string[];
}

export interface LiveState extends Status {
  type: "state";
  samples: Samples | null;
}

export type Vector = [x: number, y: number, z: number];

/** Velocities of one gripper: m/s in the robot's frame, rad/s about its own axes; gripper: -1 closes, 1 opens. */
export interface ArmDrive {
  linear: Vector;
  angular: Vector;
  gripper: number;
}

export interface Drive {
  type: "drive";
  seq: number;
  /** performance.now(), ms */
  sent: number;
  epoch: number;
  deadman: boolean;
  left: ArmDrive;
  right: ArmDrive;
}

export interface Pulse {
  type: "pulse";
  seq: number;
  sent: number;
  epoch: number;
}

export interface Echo {
  type: "echo";
  seq: number;
  sent: number;
  /** ms from receiving a Drive to the first control step that used it */
  applied: number | null;
}

export interface Refusal {
  type: "refusal";
  seq: number | null;
  code: "malformed" | "stale" | "out_of_order" | "epoch" | "stopped" | "busy" | "held_by_other" | "reclutch";
  message: string;
}
