/**
 * Substeps of an episode as data: boundaries 0 = b0 < ... < bn = steps with one label for each interval, half open,
 * in whole steps. Gaps and overlaps cannot be expressed. Everything is immutable; an operation that changes nothing
 * gives back the very same object, so that history and autosave see that nothing happened.
 */

/** proposed: from a machine, and nobody has looked at it yet. */
export type Provenance = "human" | "scripted" | "imported" | "proposed" | "machine_accepted" | "machine_edited";

export interface Label {
  readonly text: string;
  readonly provenance: Provenance;
  /** what proposed it, where a machine did */
  readonly source?: string | null;
  /** of that proposal as it was made, 0 .. 1 */
  readonly confidence?: number | null;
}

export interface Segment extends Label {
  /** first step */
  readonly start: number;
  /** the step after the last */
  readonly end: number;
}

export interface Timeline {
  /** length of the episode, at least 1 */
  readonly steps: number;
  /** 0, ..., steps: one more than labels */
  readonly boundaries: readonly number[];
  readonly labels: readonly Label[];
}

const EMPTY: Label = { text: "", provenance: "human" };

/** One empty substep over everything. */
export function blank(steps: number): Timeline {
  return { steps, boundaries: [0, steps], labels: [EMPTY] };
}

/** From stored segments. Throws RangeError if they don't tile 0 .. steps. */
export function fromSegments(steps: number, segments: readonly Segment[]): Timeline {
  let position = 0;
  for (const { start, end } of segments) {
    if (start !== position || end <= start)
      throw new RangeError(`a segment covers ${start}..${end}, expected it to start at ${position}`);
    position = end;
  }
  if (position !== steps) throw new RangeError(`the segments end at ${position}, the episode has ${steps} steps`);
  return {
    steps,
    boundaries: [0, ...segments.map(({ end }) => end)],
    labels: segments.map(({ text, provenance, source, confidence }) => ({
      text,
      provenance,
      ...(source !== null && source !== undefined && { source }),
      ...(confidence !== null && confidence !== undefined && { confidence }),
    })),
  };
}

export function toSegments(timeline: Timeline): Segment[] {
  return timeline.labels.map((label, index) => ({
    start: timeline.boundaries[index] ?? 0,
    end: timeline.boundaries[index + 1] ?? timeline.steps,
    ...label,
  }));
}

export function segmentOf(timeline: Timeline, index: number): Segment {
  const label = timeline.labels[index];
  const start = timeline.boundaries[index];
  const end = timeline.boundaries[index + 1];
  if (label === undefined || start === undefined || end === undefined)
    throw new RangeError(`segment ${index} of ${timeline.labels.length}`);
  return { start, end, ...label };
}

/** Index of the segment that holds `step`; steps outside count as the first or last. */
export function segmentAt(timeline: Timeline, step: number): number {
  let low = 0;
  let high = timeline.labels.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((timeline.boundaries[middle] ?? 0) <= step) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Index into `boundaries` of the inner boundary nearest to `step`, the earlier of two; null if there is none. */
export function nearestBoundary(timeline: Timeline, step: number): number | null {
  let best: number | null = null;
  let distance = Infinity;
  for (let index = 1; index < timeline.labels.length; index += 1) {
    const here = Math.abs((timeline.boundaries[index] ?? 0) - step);
    if (here < distance) [best, distance] = [index, here];
  }
  return best;
}

/** The boundary before `step` (0 if none), or after it (the last step if none): where a jump lands. */
export function jump(timeline: Timeline, step: number, direction: 1 | -1): number {
  if (direction > 0)
    return timeline.boundaries.find((each) => each > step && each < timeline.steps) ?? timeline.steps - 1;
  return timeline.boundaries.findLast((each) => each < step) ?? 0;
}

/** One space between words, none around them: what the server keeps. */
export function tidy(text: string): string {
  return text.trim().split(/\s+/u).join(" ");
}

/** What a label's origin becomes when a person changes its text. */
function reworded(label: Label): Label {
  const machine = label.provenance === "proposed" || label.provenance.startsWith("machine");
  const provenance = machine ? "machine_edited" : "human";
  return label.provenance === provenance ? label : { ...label, provenance };
}

/** The same for its extent. A proposal is still one, its confidence was for another extent. */
function touched(label: Label): Label {
  if (label.provenance !== "proposed") return reworded(label);
  return label.confidence === undefined ? label : { ...label, confidence: undefined };
}

/** Split at `step`: both parts keep the label. */
export function cut(timeline: Timeline, step: number): Timeline {
  if (!Number.isInteger(step) || step <= 0 || step >= timeline.steps) return timeline;
  const index = segmentAt(timeline, step);
  const label = timeline.labels[index];
  if (label === undefined || timeline.boundaries[index] === step) return timeline;
  return {
    ...timeline,
    boundaries: timeline.boundaries.toSpliced(index + 1, 0, step),
    labels: timeline.labels.toSpliced(index, 1, touched(label), touched(label)),
  };
}

/**
 * Split at `step` and give the part that ends there the text. On a boundary nothing is split; at the last step, where
 * the segment ends with the episode, the last one is labelled; at step 0 the first.
 */
export function cutAndLabel(timeline: Timeline, step: number, text: string): Timeline {
  if (step <= 0) return labelAt(timeline, 0, text);
  if (step >= timeline.steps - 1) return labelAt(timeline, timeline.labels.length - 1, text);
  const split = cut(timeline, step);
  return labelAt(split, segmentAt(split, step) - 1, text);
}

/** Another text for one segment. */
export function labelAt(timeline: Timeline, index: number, text: string): Timeline {
  const label = timeline.labels[index];
  const wanted = tidy(text);
  if (label === undefined || label.text === wanted) return timeline;
  return { ...timeline, labels: timeline.labels.with(index, { ...reworded(label), text: wanted }) };
}

/** Join a segment with the next one. The first one's text stays unless it has none. */
export function merge(timeline: Timeline, index: number): Timeline {
  return removeBoundary(timeline, index + 1);
}

/** Take the inner boundary `index` away: what lay on both sides becomes one, with the first one's text if it has one. */
export function removeBoundary(timeline: Timeline, index: number): Timeline {
  const left = timeline.labels[index - 1];
  const right = timeline.labels[index];
  if (left === undefined || right === undefined) return timeline;
  const kept = touched(left.text === "" ? right : left);
  return {
    ...timeline,
    boundaries: timeline.boundaries.toSpliced(index, 1),
    labels: timeline.labels.toSpliced(index - 1, 2, kept),
  };
}

/** Move the inner boundary `index` to `step`, or as near as its neighbours let it: each segment keeps a step. */
export function moveBoundary(timeline: Timeline, index: number, step: number): Timeline {
  const here = timeline.boundaries[index];
  const before = timeline.boundaries[index - 1];
  const after = timeline.boundaries[index + 1];
  const left = timeline.labels[index - 1];
  const right = timeline.labels[index];
  if (here === undefined || before === undefined || after === undefined || !left || !right) return timeline;
  const wanted = Math.min(after - 1, Math.max(before + 1, Math.round(step)));
  if (wanted === here || Number.isNaN(wanted)) return timeline;
  return {
    ...timeline,
    boundaries: timeline.boundaries.with(index, wanted),
    labels: timeline.labels.toSpliced(index - 1, 2, touched(left), touched(right)),
  };
}

export function nudge(timeline: Timeline, index: number, by: number): Timeline {
  const here = timeline.boundaries[index];
  return here === undefined ? timeline : moveBoundary(timeline, index, here + by);
}

/** Share of the steps whose segment has a text, 0 .. 1. */
export function labelledShare(timeline: Timeline): number {
  const labelled = toSegments(timeline).reduce((sum, { start, end, text }) => sum + (text ? end - start : 0), 0);
  return labelled / timeline.steps;
}

export interface Problem {
  /** errors keep labels from being published, warnings don't */
  readonly level: "error" | "warning";
  readonly segment: number;
  readonly message: string;
}

const SHORTEST_S = 0.5;
const LONGEST_S = 15;

/** What is wrong or odd before publishing; `fps` null: lengths are not judged. */
export function problemsOf(timeline: Timeline, vocabulary: readonly string[], fps: number | null): Problem[] {
  const problems: Problem[] = [];
  const segments = toSegments(timeline);
  segments.forEach(({ start, end, text, provenance }, segment) => {
    const warn = (message: string) => problems.push({ level: "warning", segment, message });
    if (text === "") problems.push({ level: "error", segment, message: "has no text" });
    else if (provenance === "proposed")
      problems.push({ level: "error", segment, message: "is a proposal to accept, change or reject" });
    else if (vocabulary.length > 0 && !vocabulary.includes(text)) warn("its text is not in the vocabulary");
    if (text !== "" && segments[segment - 1]?.text === text) warn("says the same as the one before: merge them?");
    if (fps !== null && (end - start) / fps < SHORTEST_S) warn(`lasts less than ${SHORTEST_S} s`);
    if (fps !== null && (end - start) / fps > LONGEST_S) warn(`lasts more than ${LONGEST_S} s`);
  });
  return problems;
}
