export interface Curve {
  readonly name: string;
  readonly dimension: number;
  readonly kind: "state" | "action";
  /** one value a step */
  readonly values: Values;
}

type Values = Float32Array | readonly number[];

/** By dimension: one value a step. */
export interface Motion {
  readonly action: readonly Values[];
  readonly qpos: readonly Values[];
}

/** What the server sends: steps, dimensions of actions and of states, then each dimension's values of all steps. */
export function motionOf(buffer: ArrayBuffer): Motion {
  const view = new DataView(buffer);
  const [steps, actions, states] = [0, 4, 8].map((at) => view.getUint32(at, true)) as [number, number, number];
  const columns = (first: number, count: number) =>
    Array.from({ length: count }, (_, index) => new Float32Array(buffer, 12 + 4 * steps * (first + index), steps));
  return { action: columns(0, actions), qpos: columns(actions, states) };
}

/** One curve a dimension, state before action. */
export function curvesOf({ qpos, action }: Motion, names: readonly string[]): Curve[] {
  const named = (columns: readonly Values[], kind: Curve["kind"]) =>
    columns.map((values, dimension): Curve => {
      return { name: names[dimension] ?? `dimension ${dimension}`, dimension, kind, values };
    });
  return [...named(qpos, "state"), ...named(action, "action")];
}

/** Speed of an arm over its joints, grippers left out; unit of a joint a second, not negative. */
export function speedsOf(
  { qpos }: Pick<Motion, "qpos">,
  names: readonly string[],
  grippers: readonly number[],
  fps: number,
): Curve[] {
  const joints = qpos.map((_, dimension) => dimension).filter((each) => !grippers.includes(each));
  const sides = ["left", "right"].filter((side) => joints.some((each) => names[each]?.startsWith(`${side}_`)));
  const arms = sides.length === 2 ? sides : [""];
  return arms.map((side, place) => {
    const own = joints.filter((each) => side === "" || names[each]?.startsWith(`${side}_`));
    const columns = own.map((each) => qpos[each] ?? []);
    const values = Array.from({ length: qpos[0]?.length ?? 0 }, (_, step) => {
      const before = Math.max(0, step - 1);
      return fps * Math.hypot(...columns.map((column) => (column[step] ?? 0) - (column[before] ?? 0)));
    });
    return { name: side === "" ? "speed" : `${side} arm`, dimension: place, kind: "state", values };
  });
}
