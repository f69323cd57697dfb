import { useComputedColorScheme } from "@mantine/core";
import { useElementSize, useMergedRef } from "@mantine/hooks";
import { useEffect, useEffectEvent, useRef, type KeyboardEvent, type PointerEvent } from "react";

import classes from "./annotate.module.css";
import { labelColor } from "./colors";
import { entryIndex, useAnnotator, useEditorState, usePlayer } from "./context";
import { Playhead } from "./Playhead";
import { moveBoundary, removeBoundary, segmentAt, toSegments } from "./timeline";
import { pan, ticks, zoom, type View } from "./view";

interface Props {
  view: View;
  setView: (change: (view: View) => View) => void;
  editText: (segment: number) => void;
}

const TICK_PX = 76;
const WHEEL_ZOOM = 0.0022;

/** Substeps over time: click or drag seeks, boundaries are dragged, Ctrl + wheel zooms, wheel moves on. */
export function TimelineBar({ view, setView, editText }: Props) {
  const { episode, editor, playback, entries, fps } = useAnnotator();
  const { player } = playback;
  const { content, selected } = useEditorState();
  const scheme = useComputedColorScheme("light");
  const { ref: sized, width } = useElementSize();
  const track = useRef<HTMLDivElement>(null);
  const trackRef = useMergedRef(sized, track);
  const current = usePlayer(({ step }) => segmentAt(content.timeline, step));
  const length = view.to - view.from;
  const percent = (step: number) => `${(100 * (step - view.from)) / length}%`;

  const stepAt = (clientX: number): number => {
    const box = track.current?.getBoundingClientRect();
    return box && box.width > 0 ? view.from + ((clientX - box.left) / box.width) * length : 0;
  };

  const wheel = useEffectEvent((event: WheelEvent) => {
    event.preventDefault();
    const at = stepAt(event.clientX);
    if (event.ctrlKey || event.metaKey)
      setView((old) => zoom(old, episode.steps, Math.exp(event.deltaY * WHEEL_ZOOM), at));
    else {
      const moved = Math.abs(event.deltaX) > Math.abs(event.deltaY) ? event.deltaX : event.deltaY;
      setView((old) => pan(old, episode.steps, (moved / Math.max(1, width)) * length));
    }
  });
  useEffect(() => {
    const element = track.current;
    const listener = (event: WheelEvent) => wheel(event);
    // React listens passively, and then the page would scroll too
    element?.addEventListener("wheel", listener, { passive: false });
    return () => element?.removeEventListener("wheel", listener);
  }, []);

  const scrub = {
    onPointerDown: (event: PointerEvent) => {
      if (event.button !== 0) return;
      event.currentTarget.setPointerCapture(event.pointerId);
      player.pause();
      player.seek(Math.floor(stepAt(event.clientX)), true);
      editor.select(null);
    },
    onPointerMove: (event: PointerEvent) => {
      if (event.currentTarget.hasPointerCapture(event.pointerId)) player.seek(Math.floor(stepAt(event.clientX)), true);
    },
    onPointerUp: () => player.seek(player.state.step),
    onPointerCancel: () => player.seek(player.state.step),
  };

  const segments = toSegments(content.timeline);
  return (
    <div className={classes.timeline} role="group" aria-label="Timeline of the substeps" data-testid="timeline">
      {/* seeking by pointer is an addition: every step is reached by keys */}
      <div className={classes.ruler} role="presentation" {...scrub}>
        {ticks({ from: view.from / fps, to: view.to / fps }, width / TICK_PX).map((seconds) => (
          <span key={seconds} className={classes.tick} style={{ left: percent(seconds * fps) }}>
            {Number(seconds.toFixed(2))} s
          </span>
        ))}
      </div>
      <div
        ref={trackRef}
        className={classes.track}
        role="presentation"
        {...scrub}
        onDoubleClick={(event) => {
          if (!editor.readOnly) editText(segmentAt(content.timeline, Math.floor(stepAt(event.clientX))));
        }}
      >
        {segments.map(({ start, end, text }, index) => {
          if (end < view.from || start > view.to) return null;
          const color = labelColor(entryIndex(entries, text), scheme);
          return (
            <div
              key={index}
              className={`${classes.segment ?? ""} ${text === "" ? (classes.empty ?? "") : ""}`}
              style={{
                left: percent(start),
                width: `${(100 * (end - start)) / length}%`,
                ...(text !== "" && { background: color.fill, color: color.text }),
              }}
              title={text || "no text yet"}
              data-testid="timeline-segment"
              data-start={start}
              data-end={end}
              data-current={index === current || undefined}
            >
              <span>{text || "no text yet"}</span>
            </div>
          );
        })}
        {segments.slice(1).map(({ start }, place) => (
          <Boundary
            key={place + 1}
            index={place + 1}
            step={start}
            left={percent(start)}
            selected={selected === place + 1}
            stepAt={stepAt}
          />
        ))}
        <Playhead view={view} width={width} />
      </div>
      <div className={classes.minimap} aria-hidden>
        <div
          className={classes.window}
          style={{
            left: `${(100 * view.from) / episode.steps}%`,
            width: `${(100 * length) / episode.steps}%`,
          }}
        />
      </div>
    </div>
  );
}

interface BoundaryProps {
  /** of `boundaries` */
  index: number;
  step: number;
  left: string;
  selected: boolean;
  stepAt: (clientX: number) => number;
}

/** Dragged by the pointer; moved by arrows and removed by Delete when it has the focus. */
function Boundary({ index, step, left, selected, stepAt }: BoundaryProps) {
  const { editor, playback } = useAnnotator();
  const { player } = playback;

  const moveTo = (wanted: number, group: string | null, scrubbing: boolean) => {
    editor.edit((timeline) => moveBoundary(timeline, index, wanted), { group, selected: index });
    player.seek(editor.timeline.boundaries[index] ?? wanted, scrubbing);
  };
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
          moveTo(stepAt(event.clientX), `drag ${index}`, true);
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
