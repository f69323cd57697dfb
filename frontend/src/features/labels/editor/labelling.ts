/** What keys, buttons and the vocabulary do to labels. Everything here takes the playhead as it is now. */

import { jumpToCandidate, nearestCandidate, type Candidate } from "./candidates";
import type { Editor } from "./editor";
import type { Player } from "./player";
import { accept, acceptAll, countProposed, isProposed, nextProposed, proposedAt, reject } from "./proposals";
import {
  cut,
  cutAndLabel,
  jump,
  labelAt,
  moveBoundary,
  nearestBoundary,
  nudge,
  removeBoundary,
  segmentAt,
  segmentOf,
  type Timeline,
} from "@/features/labels/core/timeline";

/** How cuts are placed; see Preferences. */
export interface Cutting {
  readonly lagMs: number;
  readonly snap: boolean;
  readonly fps: number;
  readonly candidates: readonly Candidate[];
}

export interface LabellingParts {
  editor: Editor;
  player: Pick<Player, "state" | "seek" | "move" | "toggle" | "pause" | "shiftSpeed" | "setLoop">;
  cutting: () => Cutting;
}

/** Cuts while it plays look this far for a candidate, seconds: what a hand misses by. Slowly played it misses less. */
const SNAP_S = 0.25;

/**
 * The step that a cut means. Paused: where the playhead is. Playing: by the reaction lag earlier, though never before
 * the substep that plays, and at a candidate nearby if there is one.
 */
export function cutStep({ player, cutting, editor }: LabellingParts): number {
  const { step, playing, speed } = player.state;
  if (!playing) return step;
  const { lagMs, snap, fps, candidates } = cutting();
  const first = Math.min(step, segmentOf(editor.timeline, segmentAt(editor.timeline, step)).start + 1);
  const meant = Math.max(first, step - Math.round((lagMs / 1000) * fps * speed));
  const found = snap ? nearestCandidate(candidates, meant, Math.round(SNAP_S * fps * Math.min(1, speed))) : null;
  return found && found.step >= first ? found.step : meant;
}

/** Digit 1 .. 9: cut at the playhead and label what ends there. `at`: another step than the playhead's. */
export function labelHere(parts: LabellingParts, text: string, at = cutStep(parts)): void {
  parts.editor.edit((timeline) => cutAndLabel(timeline, at, text));
  parts.editor.remember(text);
}

/** Label the segment under the playhead up to its end, without a cut. */
export function labelSegment({ editor, player }: LabellingParts, text: string, at = player.state.step): void {
  editor.edit((timeline) => labelAt(timeline, segmentAt(timeline, at), text));
  editor.remember(text);
}

export function cutHere(parts: LabellingParts): void {
  const at = cutStep(parts);
  parts.editor.edit((timeline) => cut(timeline, at));
}

/** The boundary that keys act on: the selected one, else the nearest to the playhead. */
function boundaryHere({ editor, player }: LabellingParts): number | null {
  return editor.state.selected ?? nearestBoundary(editor.timeline, player.state.step);
}

export function jumpTo({ editor, player }: LabellingParts, direction: 1 | -1): void {
  const step = jump(editor.timeline, player.state.step, direction);
  player.pause();
  player.seek(step);
  const index = editor.timeline.boundaries.indexOf(step);
  editor.select(index > 0 && index < editor.timeline.labels.length ? index : null);
}

export function toCandidate({ player, cutting }: LabellingParts, direction: 1 | -1): void {
  const step = jumpToCandidate(cutting().candidates, player.state.step, direction);
  if (step === null) return;
  player.pause();
  player.seek(step);
}

export function nudgeHere(parts: LabellingParts, by: 1 | -1): void {
  const { editor, player } = parts;
  const index = boundaryHere(parts);
  if (index === null) return;
  player.pause();
  editor.edit((timeline) => nudge(timeline, index, by), { selected: index });
  player.seek(editor.timeline.boundaries[index] ?? player.state.step);
}

/** The boundary comes to the playhead, or as near as its neighbours let it. */
export function boundaryToPlayhead(parts: LabellingParts): void {
  const index = boundaryHere(parts);
  if (index === null) return;
  parts.player.pause();
  const { step } = parts.player.state;
  parts.editor.edit((timeline) => moveBoundary(timeline, index, step), { selected: index });
}

export function removeHere({ editor, player }: LabellingParts): void {
  const index = editor.state.selected ?? segmentAt(editor.timeline, player.state.step);
  editor.edit((timeline) => removeBoundary(timeline, index));
}

export function toggleLoop({ editor, player }: LabellingParts): void {
  if (player.state.loop) {
    player.setLoop(null);
    return;
  }
  const { start, end } = segmentOf(editor.timeline, segmentAt(editor.timeline, player.state.step));
  player.setLoop({ start, end });
}

/** A and X: the proposal under the playhead; elsewhere only the next one is shown, so that nothing goes unseen. */
export function decide(parts: LabellingParts, what: "accept" | "reject"): void {
  const { editor, player } = parts;
  const here = segmentAt(editor.timeline, player.state.step);
  if (!isProposed(editor.timeline, here)) {
    show(parts, proposedAt(editor.timeline, player.state.step));
    return;
  }
  const operation: (timeline: Timeline, index: number) => Timeline = what === "accept" ? accept : reject;
  editor.edit((timeline) => operation(timeline, here));
  show(parts, nextProposed(editor.timeline, here));
}

/** How many were accepted. */
export function acceptSure({ editor }: LabellingParts, least: number): number {
  const before = countProposed(editor.timeline);
  editor.edit((timeline) => acceptAll(timeline, least));
  return before - countProposed(editor.timeline);
}

function show({ editor, player }: LabellingParts, index: number | null): void {
  if (index === null) return;
  player.pause();
  player.seek(editor.timeline.boundaries[index] ?? 0);
}
