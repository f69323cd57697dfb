/** The last seconds of what was sent to the robot, and what the policy predicts next. Pure. */
import type { Samples } from "./messages";

interface Row {
  step: number;
  state: readonly number[];
  action: readonly number[];
}

/** Columns of a plot: seconds from now, then for each joint what was sent and what is predicted. */
export interface Curves {
  seconds: number[];
  sent: (number | null)[][];
  predicted: (number | null)[][];
}

export const PAST_SECONDS = 10;
/** Used until the host says how fast its loop is. */
const USUAL_HZ = 50;

export class Telemetry {
  private rows: Row[] = [];
  private chunk: { step: number; steps: number; rows: readonly (readonly number[])[] } | null = null;
  /** counts what was added, so that who draws knows whether there is anything new */
  version = 0;

  constructor(private hz: number = USUAL_HZ) {}

  get newest(): number | null {
    return this.rows.at(-1)?.step ?? null;
  }

  setRate(hz: number | null | undefined): void {
    if (hz) this.hz = hz;
  }

  add(samples: Samples): void {
    this.version += 1;
    const newest = this.newest;
    const first = samples.step[0];
    if (newest !== null && first !== undefined && first < newest - samples.step.length) this.clear(); // another host
    samples.step.forEach((step, index) => {
      const state = samples.state[index];
      const action = samples.action[index];
      if (state && action && step > (this.newest ?? -1)) this.rows.push({ step, state, action });
    });
    const oldest = (this.newest ?? 0) - PAST_SECONDS * this.hz;
    const kept = this.rows.findIndex(({ step }) => step >= oldest);
    if (kept > 0) this.rows.splice(0, kept);
    if (samples.chunk !== null && samples.chunk_step !== null)
      this.chunk = {
        step: samples.chunk_step,
        steps: samples.chunk_steps ?? samples.chunk.length,
        rows: samples.chunk,
      };
  }

  clear(): void {
    this.rows = [];
    this.chunk = null;
  }

  /** The newest state of a joint, as the robot measured it. */
  stateOf(joint: number): number | null {
    return this.rows.at(-1)?.state[joint] ?? null;
  }

  /** Curves of these joints over the last seconds and as far ahead as the newest chunk goes. Steps missed are gaps. */
  curves(joints: readonly number[]): Curves {
    const newest = this.newest ?? 0;
    const from = newest - PAST_SECONDS * this.hz;
    const chunk = this.chunk && this.chunk.step + this.chunk.steps > from ? this.chunk : null;
    const until = Math.max(newest, chunk ? chunk.step + chunk.steps - 1 : newest);
    const length = until - from + 1;
    const column = () => new Array<number | null>(length).fill(null);
    const curves: Curves = {
      seconds: Array.from({ length }, (_, index) => (from + index - newest) / this.hz),
      sent: joints.map(column),
      predicted: joints.map(column),
    };
    joints.forEach((joint, which) => {
      for (const { step, action } of this.rows) put(curves.sent[which], step - from, action[joint]);
      chunk?.rows.forEach((row, index) => {
        const ahead = Math.round((index * (chunk.steps - 1)) / Math.max(1, chunk.rows.length - 1));
        put(curves.predicted[which], chunk.step + ahead - from, row[joint]);
      });
    });
    return curves;
  }
}

function put(column: (number | null)[] | undefined, index: number, value: number | undefined): void {
  if (column && value !== undefined && index >= 0 && index < column.length) column[index] = value;
}

/** Joints that belong together, by the first part of their names: left, right, grippers; everything if that says nothing. */
export function jointGroups(names: readonly string[]): { label: string; joints: number[] }[] {
  const all = names.map((_, index) => index);
  const grippers = all.filter((index) => names[index]?.includes("gripper"));
  const arms = [...new Set(names.map((name) => name.split(/[_/.]/)[0] ?? ""))];
  if (arms.length < 2 || arms.length > 4) return [{ label: "all joints", joints: all }];
  return [
    ...arms.map((arm) => ({
      label: arm,
      joints: all.filter((index) => names[index]?.startsWith(arm) && !grippers.includes(index)),
    })),
    ...(grippers.length > 0 ? [{ label: "grippers", joints: grippers }] : []),
  ];
}
