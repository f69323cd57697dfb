import type { Schema } from "@/api/client";

export interface Curve {
  readonly name: string;
  readonly dimension: number;
  readonly kind: "state" | "action";
  /** one value a step */
  readonly values: readonly number[];
}

/** Rows of a motion as one curve a dimension, state before action. */
export function curvesOf(
  { qpos, action }: Pick<Schema<"Motion">, "qpos" | "action">,
  names: readonly string[],
): Curve[] {
  const columns = (rows: number[][], kind: Curve["kind"]) =>
    (rows[0] ?? []).map((_, dimension): Curve => ({
      name: names[dimension] ?? `dimension ${dimension}`,
      dimension,
      kind,
      values: rows.map((row) => row[dimension] ?? NaN),
    }));
  return [...columns(qpos, "state"), ...columns(action, "action")];
}

/** Speed of an arm over its joints, grippers left out; unit of a joint a second, not negative. */
export function speedsOf(
  { qpos }: Pick<Schema<"Motion">, "qpos">,
  names: readonly string[],
  grippers: readonly number[],
  fps: number,
): Curve[] {
  const joints = (qpos[0] ?? []).map((_, dimension) => dimension).filter((each) => !grippers.includes(each));
  const sides = ["left", "right"].filter((side) => joints.some((each) => names[each]?.startsWith(`${side}_`)));
  const arms = sides.length === 2 ? sides : [""];
  return arms.map((side, place) => {
    const own = joints.filter((each) => side === "" || names[each]?.startsWith(`${side}_`));
    const values = qpos.map((row, step) => {
      const before = qpos[Math.max(0, step - 1)] ?? row;
      return fps * Math.hypot(...own.map((each) => (row[each] ?? 0) - (before[each] ?? 0)));
    });
    return { name: side === "" ? "speed" : `${side} arm`, dimension: place, kind: "state", values };
  });
}
