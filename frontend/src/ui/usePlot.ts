import "uplot/dist/uPlot.min.css";

import { useComputedColorScheme, useMantineTheme } from "@mantine/core";
import { useEffect, useEffectEvent, useRef, type RefObject } from "react";
import uPlot from "uplot";

/** Colours that are told apart on light and dark, also with the common colour-blindnesses (after Okabe and Ito). */
export const PLOT_COLORS = {
  light: ["#0072b2", "#c65102", "#00825f", "#a8478a", "#8a6d00", "#3b8fc4", "#6f4fb3", "#b3243b", "#4d7a00", "#5b6570"],
  dark: ["#5ab4ec", "#f0975a", "#3fcfa0", "#e39acb", "#e6c74c", "#9bd0f2", "#b39cf0", "#f28b97", "#a9d15c", "#b4bac2"],
} as const;

/** What plots are drawn with, in the colour scheme of the moment. */
export function usePlotColors() {
  const scheme = useComputedColorScheme("light");
  const { colors } = useMantineTheme();
  const dark = scheme === "dark";
  return {
    scheme,
    palette: PLOT_COLORS[scheme],
    grid: dark ? colors.dark[5] : colors.gray[2],
    text: dark ? colors.dark[1] : colors.gray[7],
  };
}

interface Options {
  /** of the room for it, pixels */
  width: number;
  height: number;
  /** there is room enough to draw in */
  ready: boolean;
  /** what uPlot cannot change in place: another one makes the plot anew */
  shape: string;
  build: (element: HTMLDivElement) => uPlot;
}

/** A uPlot in the element that `host` is given to: made once there is room, of its size, and gone with the element. */
export function usePlot({ width, height, ready, shape, build }: Options): {
  host: RefObject<HTMLDivElement | null>;
  plot: RefObject<uPlot | null>;
} {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const make = useEffectEvent(build);

  useEffect(() => {
    const element = host.current;
    if (!element || !ready) return;
    const made = make(element);
    plot.current = made;
    return () => {
      plot.current = null;
      made.destroy();
    };
  }, [shape, ready]);

  useEffect(() => {
    if (width > 0) plot.current?.setSize({ width, height });
  }, [width, height]);

  return { host, plot };
}

/**
 * Of a linear y axis: a constant gets a tenth of itself above and below, where uPlot's own rule shows 0 to 100.
 * null: nothing to show yet, which uPlot's types leave out.
 */
export function roomAround(low: number | null, high: number | null): uPlot.Range.MinMax {
  if (low === null || high === null) return [low, high];
  if (high - low > Math.abs(high) * 1e-6) return uPlot.rangeNum(low, high, 0.1, true);
  const room = Math.max(Math.abs(high) / 10, 0.1);
  return [low - room, high + room];
}
