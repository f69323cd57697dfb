/** Labels that a machine proposes: they lie in the draft as such until a person accepts, changes or rejects them. */

import { nearestCandidate, type Candidate } from "./candidates";
import {
  fromSegments,
  labelAt,
  segmentAt,
  toSegments,
  type Label,
  type Segment,
  type Timeline,
} from "@/features/labels/core/timeline";

export interface Proposal {
  readonly start: number;
  readonly end: number;
  readonly text: string;
  readonly source: string;
  readonly confidence?: number | null;
}

/** Puts proposals where nothing is written yet; what people wrote stays as it is. */
export function fill(timeline: Timeline, proposals: readonly Proposal[]): Timeline {
  const segments = toSegments(timeline).flatMap((segment) =>
    segment.text === "" ? tiles(segment, proposals) : [segment],
  );
  if (
    segments.length === timeline.labels.length &&
    segments.every(({ text }, index) => text === timeline.labels[index]?.text)
  )
    return timeline;
  return fromSegments(timeline.steps, segments);
}

function tiles(blank: Segment, proposals: readonly Proposal[]): Segment[] {
  const made: Segment[] = [];
  let position = blank.start;
  for (const { start, end, text, source, confidence } of [...proposals].sort((a, b) => a.start - b.start)) {
    const from = Math.max(position, start);
    const to = Math.min(blank.end, end);
    if (to <= from || text === "") continue;
    if (from > position) made.push({ ...blank, start: position, end: from });
    const whole = from === start && to === end;
    made.push({
      start: from,
      end: to,
      text,
      provenance: "proposed",
      source,
      ...(whole && confidence !== null && confidence !== undefined && { confidence }),
    });
    position = to;
  }
  if (position < blank.end) made.push({ ...blank, start: position, end: blank.end });
  return made;
}

/** Whole steps of one episode as shares of another, nowhere empty; boundaries go to candidates at most `within` away. */
export function stretched(
  segments: readonly Pick<Segment, "start" | "end" | "text">[],
  from: number,
  steps: number,
  { source, candidates = [], within = 0 }: { source: string; candidates?: readonly Candidate[]; within?: number },
): Proposal[] {
  let position = 0;
  return segments.flatMap(({ end, text }, index) => {
    const scaled = Math.round((end * steps) / from);
    const meant = nearestCandidate(candidates, scaled, within)?.step ?? scaled;
    const start = position;
    position = index === segments.length - 1 ? steps : Math.min(steps, Math.max(position, meant));
    return position > start && text !== "" ? [{ start, end: position, text, source }] : [];
  });
}

export function isProposed(timeline: Timeline, index: number): boolean {
  return timeline.labels[index]?.provenance === "proposed";
}

export function countProposed(timeline: Timeline): number {
  return timeline.labels.filter(({ provenance }) => provenance === "proposed").length;
}

/** The first proposal after segment `index`, else the first there is; null: none is left. */
export function nextProposed(timeline: Timeline, index: number): number | null {
  const after = timeline.labels.findIndex((_, each) => each > index && isProposed(timeline, each));
  const found = after >= 0 ? after : timeline.labels.findIndex((_, each) => isProposed(timeline, each));
  return found >= 0 ? found : null;
}

/** The proposal that `step` lies in, else the next one. */
export function proposedAt(timeline: Timeline, step: number): number | null {
  const here = segmentAt(timeline, step);
  return isProposed(timeline, here) ? here : nextProposed(timeline, here);
}

function accepted(label: Label): Label {
  // one whose extent a person changed has lost its confidence
  return { ...label, provenance: label.confidence === undefined ? "machine_edited" : "machine_accepted" };
}

export function accept(timeline: Timeline, index: number): Timeline {
  const label = timeline.labels[index];
  if (!label || !isProposed(timeline, index)) return timeline;
  return { ...timeline, labels: timeline.labels.with(index, accepted(label)) };
}

/** The steps stay, without a text. */
export function reject(timeline: Timeline, index: number): Timeline {
  if (!isProposed(timeline, index)) return timeline;
  const { labels } = labelAt(timeline, index, "");
  return { ...timeline, labels: labels.with(index, { text: "", provenance: "human" }) };
}

/** All proposals that are at least this sure; 0 takes those of unknown confidence too. */
export function acceptAll(timeline: Timeline, least: number): Timeline {
  const takes = (label: Label) => label.provenance === "proposed" && (label.confidence ?? 0) >= least;
  if (!timeline.labels.some(takes)) return timeline;
  return { ...timeline, labels: timeline.labels.map((label) => (takes(label) ? accepted(label) : label)) };
}
