import { useElementSize, useMergedRef } from "@mantine/hooks";
import { useEffect, useRef } from "react";
import uPlot from "uplot";

import { formatNumber } from "@/ui/format";
import { usePlot, usePlotColors } from "@/ui/usePlot";

import classes from "./annotate.module.css";
import { useAnnotator } from "./context";
import type { Curve } from "./curves";
import { Playhead } from "./Playhead";
import type { View } from "./view";

/** Width of the axis at the left: the timeline's gutter. */
const GUTTER = 50;
/** Curves this near to the pointer are named, pixels. */
const NEAR = 16;

interface Props {
  label: string;
  curves: readonly Curve[];
  view: View;
  /** of the height, beside the other plots */
  share: number;
}

/** Curves on the timeline's scale. Pressing and dragging seeks; the curve under the pointer is named. */
export function MotionPlot({ label, curves, view, share }: Props) {
  const { episode, playback } = useAnnotator();
  const { player } = playback;
  const { ref: sized, width, height } = useElementSize();
  const readout = useRef<HTMLDivElement>(null);
  const { scheme, palette, grid, text } = usePlotColors();
  const shownView = useRef(view);
  const ready = width > GUTTER && height > 30;

  const seek = (self: uPlot, event: PointerEvent, scrubbing: boolean) => {
    const left = event.clientX - self.over.getBoundingClientRect().left;
    player.pause();
    player.seek(Math.floor(self.posToVal(left, "x")), scrubbing);
  };

  const build = (element: HTMLDivElement): uPlot => {
    let focused: number | null = null;
    const tell = (self: uPlot) => {
      if (!readout.current) return;
      const curve = focused === null ? undefined : curves[focused - 1];
      const step = self.cursor.idx;
      const value = curve && step !== null && step !== undefined ? curve.values[step] : undefined;
      readout.current.textContent =
        curve && value !== undefined ? `${curve.name}, ${curve.kind}: ${formatNumber(value)}` : "";
    };
    return new uPlot(
      {
        width,
        height,
        padding: [6, 0, 4, 0],
        legend: { show: false },
        focus: { alpha: 0.25 },
        scales: { x: { time: false, range: () => [shownView.current.from, shownView.current.to] } },
        axes: [
          { show: false },
          {
            stroke: text,
            font: "10px system-ui, sans-serif",
            size: GUTTER,
            gap: 4,
            space: 22,
            grid: { stroke: grid, width: 1 },
            ticks: { show: false },
            values: (_, ticks) => ticks.map((tick: number | null) => (tick === null ? "" : formatNumber(tick, 3))),
          },
        ],
        cursor: { y: false, drag: { x: false, y: false }, focus: { prox: NEAR }, points: { size: 5 } },
        series: [
          {},
          ...curves.map(({ dimension, kind }): uPlot.Series => ({
            stroke: palette[dimension % palette.length],
            width: kind === "state" ? 1.5 : 1,
            dash: kind === "action" ? [4, 3] : undefined,
            points: { show: false },
          })),
        ],
        hooks: {
          setSeries: [
            (self, index) => {
              focused = index;
              tell(self);
            },
          ],
          setCursor: [tell],
          ready: [
            (self) => {
              self.over.addEventListener("pointerdown", (event) => {
                if (event.button !== 0) return;
                self.over.setPointerCapture(event.pointerId);
                seek(self, event, true);
              });
              self.over.addEventListener("pointermove", (event) => {
                if (self.over.hasPointerCapture(event.pointerId)) seek(self, event, true);
              });
              self.over.addEventListener("pointerup", (event) => seek(self, event, false));
            },
          ],
        },
      },
      // a step's value stands in the middle of its share of the timeline
      [
        Array.from({ length: episode.steps }, (_, step) => step + 0.5),
        ...curves.map(({ values }) => values as number[]),
      ],
      element,
    );
  };

  const shape = JSON.stringify([curves.map(({ dimension, kind }) => [dimension, kind]), scheme, episode.id]);
  const { host, plot } = usePlot({ width, height, ready, shape, build });
  const hostRef = useMergedRef(sized, host);

  useEffect(() => {
    shownView.current = view;
    plot.current?.setScale("x", { min: view.from, max: view.to });
  }, [plot, view]);

  return (
    <div
      className={classes.plot}
      style={{ flexGrow: share }}
      role="figure"
      aria-label={`${label}, state and action`}
      data-testid={`plot-${label.toLowerCase()}`}
    >
      <div ref={hostRef} className={classes.plotHost} />
      <div className={classes.plotName}>{label}</div>
      <div ref={readout} className={classes.readout} />
      {ready && <Playhead view={view} width={width - GUTTER} left={GUTTER} />}
    </div>
  );
}
