/** For tests: what a simulated robot at rest tells, changed where a test needs it. */
import type { LiveState } from "./messages";

export function aState(change: Partial<LiveState> = {}, status: Partial<LiveState["status"]> = {}): LiveState {
  return {
    type: "state",
    status: {
      state: "holding",
      epoch: 0,
      since: null,
      stopped_by: null,
      reason: null,
      at_risk: null,
      cameras: [],
      views: [],
      camera_fault: null,
      control_hz: 50,
      tick_hz: 50,
      late_ms: 0,
      task: "transfer_cube",
      simulated: true,
      elsewhere: false,
      pid: 1,
      ...status,
    },
    mode: "idle",
    why: null,
    holder: null,
    policy: null,
    failure: null,
    building: null,
    real_time: null,
    recording: null,
    saved: null,
    scene: null,
    joint_names: ["left_waist"],
    samples: null,
    not_recorded: [],
    audit_entry: null,
    ...change,
  };
}
