/** What page and robot host say to each other: dexvla/live/messages.py. Control messages are not in the API's schema. */
import type { Schema } from "@/api/client";

/** As the server writes answers: what has a default is there too. */
type Whole<T> = T extends (infer Each)[]
  ? Whole<Each>[]
  : T extends object
    ? { [Name in keyof T]-?: Whole<T[Name]> }
    : T;

export type LiveState = Whole<Schema<"LiveState">>;
/** Everything the page shows but frames and curves. */
export type Status = Omit<LiveState, "type" | "samples" | "not_recorded" | "audit_entry">;
export type Policy = NonNullable<LiveState["policy"]>;
export type Reasoning = NonNullable<Policy["reasoning"]>;
export type Recording = NonNullable<LiveState["recording"]>;
export type Saved = NonNullable<LiveState["saved"]>;
export type Scene = NonNullable<LiveState["scene"]>;
export type Progress = NonNullable<Policy["loading"]>;
export type Samples = NonNullable<LiveState["samples"]>;

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
  /** age of the newest sign of a hand, ms */
  evidence_ms: number | null;
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
