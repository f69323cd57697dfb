import { useComputedColorScheme } from "@mantine/core";
import { useElementSize, useMergedRef } from "@mantine/hooks";
import { useEffect, useEffectEvent, useRef, type PointerEvent } from "react";

import classes from "./annotate.module.css";
import { Boundary } from "./Boundary";
import { labelColor } from "@/features/labels/core/colors";
import { entryIndex, useAnnotator, useEditorState, usePlayer } from "./context";
import { CandidateLane, OtherLanes, type OtherLabels } from "./Lanes";
import { Minimap } from "./Minimap";
import { Playhead } from "./Playhead";
import { segmentAt, toSegments, type Provenance } from "@/features/labels/core/timeline";
import { pan, ticks, zoom, type View } from "./view";

interface Props {
  view: View;
  setView: (change: (view: View) => View) => void;
  editText: (segment: number) => void;
  others: readonly OtherLabels[];
  /** how wide it is, pixels */
  measured: (pixels: number) => void;
}

const TICK_PX = 76;
const WHEEL_ZOOM = 0.0022;
/** A dragged boundary jumps to a candidate this near, pixels. */
const SNAP_PX = 8;

/** Substeps over time: click or drag seeks, boundaries are dragged, Ctrl + wheel zooms, wheel moves on. */
export function TimelineBar({ view, setView, editText, others, measured }: Props) {
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

  useEffect(() => {
    measured(width);
  }, [measured, width]);

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
        {segments.map(({ start, end, text, provenance, confidence }, index) => {
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
              title={titleOf(text, provenance, confidence)}
              data-testid="timeline-segment"
              data-provenance={provenance}
              data-start={start}
              data-end={end}
              data-proposed={provenance === "proposed" || undefined}
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
            reach={(SNAP_PX * length) / Math.max(1, width)}
          />
        ))}
        <Playhead view={view} width={width} />
      </div>
      <CandidateLane view={view} />
      <OtherLanes view={view} others={others} />
      <Minimap view={view} setView={setView} />
    </div>
  );
}

function titleOf(text: string, provenance: Provenance, confidence: number | null | undefined): string {
  if (provenance !== "proposed") return text || "no text yet";
  return `${text} (proposal${typeof confidence === "number" ? `, ${Math.round(100 * confidence)} % sure` : ""})`;
}
