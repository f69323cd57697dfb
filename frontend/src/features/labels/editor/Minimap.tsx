import { useComputedColorScheme } from "@mantine/core";
import { useElementSize } from "@mantine/hooks";
import { useMergedRef } from "@mantine/hooks";
import { useRef, type PointerEvent } from "react";

import classes from "./annotate.module.css";
import { labelColor } from "@/features/labels/core/colors";
import { entryIndex, useAnnotator, useEditorState } from "./context";
import { Playhead } from "./Playhead";
import { toSegments } from "@/features/labels/core/timeline";
import { centred, whole, type View } from "./view";

interface Props {
  view: View;
  setView: (change: (view: View) => View) => void;
}

/** The whole episode small, with the part that the timeline shows; a press or a drag moves that. Keys zoom and follow. */
export function Minimap({ view, setView }: Props) {
  const { episode, entries } = useAnnotator();
  const { timeline } = useEditorState().content;
  const scheme = useComputedColorScheme("light");
  const { ref: sized, width } = useElementSize();
  const bar = useRef<HTMLDivElement>(null);
  const ref = useMergedRef(sized, bar);
  const share = (step: number) => `${(100 * step) / episode.steps}%`;

  const move = (event: PointerEvent) => {
    const box = bar.current?.getBoundingClientRect();
    if (!box || box.width === 0) return;
    const at = ((event.clientX - box.left) / box.width) * episode.steps;
    setView((old) => centred(old, episode.steps, at));
  };
  return (
    <div
      ref={ref}
      className={classes.minimap}
      role="presentation"
      onPointerDown={(event) => {
        if (event.button !== 0) return;
        event.currentTarget.setPointerCapture(event.pointerId);
        move(event);
      }}
      onPointerMove={(event) => {
        if (event.currentTarget.hasPointerCapture(event.pointerId)) move(event);
      }}
      data-testid="minimap"
      data-from={Math.round(view.from)}
      data-to={Math.round(view.to)}
    >
      {toSegments(timeline).map(({ start, end, text }) => (
        <div
          key={start}
          className={classes.miniSegment}
          style={{
            left: share(start),
            width: share(end - start),
            ...(text !== "" && { background: labelColor(entryIndex(entries, text), scheme).fill }),
          }}
        />
      ))}
      <div className={classes.window} style={{ left: share(view.from), width: share(view.to - view.from) }} />
      <Playhead view={whole(episode.steps)} width={width} />
    </div>
  );
}
