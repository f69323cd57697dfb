import type { KeyboardEvent } from "react";

import classes from "./annotate.module.css";
import { nearestCandidate } from "./candidates";
import { useAnnotator } from "./context";
import { moveBoundary, removeBoundary } from "@/features/labels/core/timeline";

interface Props {
  /** of `boundaries` */
  index: number;
  step: number;
  left: string;
  selected: boolean;
  stepAt: (clientX: number) => number;
  /** steps that a drag jumps to a candidate from */
  reach: number;
}

/** Dragged by the pointer; moved by arrows and removed by Delete when it has the focus. */
export function Boundary({ index, step, left, selected, stepAt, reach }: Props) {
  const { editor, playback, preferences, candidates } = useAnnotator();
  const { player } = playback;

  const moveTo = (wanted: number, group: string | null, scrubbing: boolean) => {
    editor.edit((timeline) => moveBoundary(timeline, index, wanted), { group, selected: index });
    player.seek(editor.timeline.boundaries[index] ?? wanted, scrubbing);
  };
  const snapped = (wanted: number, free: boolean) =>
    (preferences.snap && !free ? nearestCandidate(candidates, wanted, reach)?.step : undefined) ?? wanted;
  const key = (event: KeyboardEvent) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by !== undefined && !event.ctrlKey) moveTo(step + by * (event.shiftKey ? 10 : 1), null, false);
    else if (event.key === "Delete" || event.key === "Backspace")
      editor.edit((timeline) => removeBoundary(timeline, index));
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  const { boundaries } = editor.timeline;
  return (
    <div
      role="slider"
      tabIndex={0}
      className={classes.handle}
      style={{ left }}
      aria-label={`Boundary ${index}`}
      aria-valuenow={step}
      aria-valuemin={(boundaries[index - 1] ?? 0) + 1}
      aria-valuemax={(boundaries[index + 1] ?? step + 1) - 1}
      aria-valuetext={`step ${step}`}
      aria-readonly={editor.readOnly}
      data-testid="timeline-boundary"
      data-index={index}
      data-step={step}
      data-selected={selected || undefined}
      onKeyDown={key}
      onFocus={() => editor.select(index)}
      onPointerDown={(event) => {
        event.stopPropagation();
        if (event.button !== 0) return;
        event.currentTarget.setPointerCapture(event.pointerId);
        player.pause();
        editor.select(index);
        player.seek(step, true);
      }}
      onPointerMove={(event) => {
        if (event.currentTarget.hasPointerCapture(event.pointerId))
          moveTo(snapped(stepAt(event.clientX), event.altKey), `drag ${index}`, true);
        event.stopPropagation();
      }}
      onPointerUp={(event) => {
        event.stopPropagation();
        editor.endGroup();
        player.seek(player.state.step);
      }}
      onPointerCancel={() => editor.endGroup()}
      onDoubleClick={(event) => event.stopPropagation()}
    />
  );
}
