/** Two people's substeps of one episode: where they differ, and one out of both. */

import type { Segment } from "@/features/labels/core/timeline";

export type Side = "mine" | "theirs";

/** Steps start .. end that have another text here than there. */
export interface Difference {
  readonly start: number;
  readonly end: number;
  readonly mine: string;
  readonly theirs: string;
}

/** Steps without a boundary of either side within, and the segment of each that holds them. */
interface Piece {
  readonly start: number;
  readonly end: number;
  readonly mine: number;
  readonly theirs: number;
}

/** Both tile the same steps. */
function pieces(mine: readonly Segment[], theirs: readonly Segment[]): Piece[] {
  const found: Piece[] = [];
  let [one, other, start] = [0, 0, 0];
  for (;;) {
    const [left, right] = [mine[one], theirs[other]];
    if (!left || !right) return found;
    const end = Math.min(left.end, right.end);
    found.push({ start, end, mine: one, theirs: other });
    if (left.end === end) one += 1;
    if (right.end === end) other += 1;
    start = end;
  }
}

export function differences(mine: readonly Segment[], theirs: readonly Segment[]): Difference[] {
  const found: Difference[] = [];
  for (const piece of pieces(mine, theirs)) {
    const [here, there] = [mine[piece.mine]?.text ?? "", theirs[piece.theirs]?.text ?? ""];
    if (here === there) continue;
    const last = found.at(-1);
    if (last?.end === piece.start && last.mine === here && last.theirs === there)
      found[found.length - 1] = { ...last, end: piece.end };
    else found.push({ start: piece.start, end: piece.end, mine: here, theirs: there });
  }
  return found;
}

/** One out of both: `side` says whose text counts at a step; where both say the same it is mine. */
export function merged(
  mine: readonly Segment[],
  theirs: readonly Segment[],
  side: (difference: Difference) => Side,
): Segment[] {
  const different = differences(mine, theirs);
  const result: Segment[] = [];
  let before = null as { side: Side; index: number } | null;
  for (const piece of pieces(mine, theirs)) {
    const difference = different.find(({ start, end }) => start <= piece.start && piece.end <= end);
    const chosen = difference ? side(difference) : "mine";
    const index = piece[chosen];
    const segment = (chosen === "mine" ? mine : theirs)[index];
    const last = result.at(-1);
    if (!segment) break;
    const boundary = before?.side === chosen && before.index !== index;
    if (last?.text === segment.text && !boundary) result[result.length - 1] = { ...last, end: piece.end };
    else result.push({ ...segment, start: piece.start, end: piece.end });
    before = { side: chosen, index };
  }
  return result;
}
