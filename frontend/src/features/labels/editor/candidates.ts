/** Boundary candidates: where, by the motion or by who drove, a substep may end. */

/** A step where something changes: a gripper closes, an arm comes to rest. */
export interface Candidate {
  readonly step: number;
  /** 0 .. 1; null: not known */
  readonly confidence: number | null;
  /** what found it, for people: "left gripper" */
  readonly source: string;
}

/** Where nothing is known: always the same one, so that nothing is drawn anew for it. */
export const NO_CANDIDATES: readonly Candidate[] = [];

/** The candidate nearest to `step` and at most `within` steps away, the surer of two as near; null: none. */
export function nearestCandidate(candidates: readonly Candidate[], step: number, within: number): Candidate | null {
  let best: Candidate | null = null;
  for (const candidate of candidates) {
    const distance = Math.abs(candidate.step - step);
    if (distance > within) continue;
    const nearest = best ? Math.abs(best.step - step) : Infinity;
    if (distance < nearest || (distance === nearest && (candidate.confidence ?? 0) > (best?.confidence ?? 0)))
      best = candidate;
  }
  return best;
}

/** The step of the next candidate before or after `step`; null: there is none. */
export function jumpToCandidate(candidates: readonly Candidate[], step: number, direction: 1 | -1): number | null {
  const ahead = candidates.map((each) => each.step).filter((each) => (each - step) * direction > 0);
  return ahead.length === 0 ? null : direction > 0 ? Math.min(...ahead) : Math.max(...ahead);
}
