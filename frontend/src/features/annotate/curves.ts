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
