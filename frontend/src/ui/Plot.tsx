import { Box, Group, Text } from "@mantine/core";
import { useElementSize } from "@mantine/hooks";
import { useEffect, useEffectEvent, useRef, useState } from "react";
import uPlot from "uplot";

import { formatCount, formatNumber } from "./format";
import { roomAround, usePlot, usePlotColors } from "./usePlot";

export interface Series {
  label: string;
  values: readonly (number | null)[];
  /** CSS colour; default: the palette in order */
  color?: string;
  dashed?: boolean;
  /** fraction of the line's strength, for raw values behind a smoothed curve */
  faint?: boolean;
  /** hidden at first; a click on the legend shows it */
  hidden?: boolean;
  /** a dot at every value; default: only while there are too few for a line */
  points?: boolean;
  /** null is a gap in the line; otherwise the line goes on to the next value */
  gaps?: boolean;
  /** between which values the ones lie that each of `values` stands for: a pale area behind the line */
  band?: { low: readonly (number | null)[]; high: readonly (number | null)[] };
}

/** A place on x that is pointed out: a labelled line from top to bottom. */
export interface Mark {
  x: number;
  label: string;
}

interface Props {
  x: readonly number[];
  series: readonly Series[];
  /** what x is, with its unit */
  xLabel?: string;
  yLabel?: string;
  height?: number;
  logarithmic?: boolean;
  /** fixed range of y; default: what the data need */
  yRange?: [number, number];
  /** a vertical line at this x: the playback cursor */
  cursor?: number | null;
  /** places on x that are pointed out */
  marks?: readonly Mark[];
  /** plots with one key move their cursors together */
  syncKey?: string;
  /** a click, or a drag that is no zoom, at this x */
  onPick?: (x: number) => void;
  /** drag selects a range and zooms to it, double click shows everything again (default) */
  zoom?: boolean;
  /** what is in sight of x after a zoom, in this plot or in one with the same syncKey; null: everything */
  onZoom?: (x: readonly [number, number] | null) => void;
  legend?: boolean;
  formatX?: (value: number) => string;
  /** x counts: ticks at whole numbers only, written with separators */
  wholeX?: boolean;
  label: string;
  "data-testid"?: string;
}

/** uPlot declares its scales as const enums, which no value can be imported from. */
// eslint-disable-next-line @typescript-eslint/no-unsafe-enum-assignment -- ditto
const LOGARITHMIC = 3 as uPlot.Scale.Distr;
/** 1, 2, 5, 10 ... */
const WHOLE = Array.from({ length: 10 }, (_, power) => [1, 2, 5].map((each) => each * 10 ** power)).flat();
const NO_MARKS: readonly Mark[] = [];

/**
 * Curves over a common x: follows the colour scheme and its own width; hover shows the values below.
 * Give `x` and each `values` a new array when they change (never push to the old ones).
 */
export function Plot({
  x,
  series,
  xLabel,
  yLabel,
  height = 240,
  logarithmic = false,
  yRange,
  cursor,
  marks = NO_MARKS,
  syncKey,
  onPick,
  zoom = true,
  onZoom,
  legend = true,
  wholeX = false,
  formatX = wholeX ? formatCount : (value) => formatNumber(value, 6),
  label,
  ...props
}: Props) {
  const { ref, width } = useElementSize();
  const { scheme, palette, grid, text } = usePlotColors();
  const [hovered, setHovered] = useState<number | null>(null);
  const [toggled, setToggled] = useState<ReadonlySet<string>>(new Set());

  const colors = series.map(({ color }, index) => color ?? palette[index % palette.length] ?? palette[0]);
  const shown = series.map((each) => toggled.has(each.label) === (each.hidden === true));
  // what uPlot cannot change in place; data, size and visibility it can
  const shape = JSON.stringify([
    series.map(({ label, dashed, faint, points, gaps, band }) => [label, dashed, faint, points, gaps, !!band]),
    colors,
    xLabel,
    yLabel,
    logarithmic,
    yRange,
    syncKey,
    zoom,
    scheme,
    wholeX,
  ]);
  const ready = width > 0;

  const picking = useRef(onPick);
  const zooming = useRef(onZoom);
  useEffect(() => {
    picking.current = onPick;
    zooming.current = onZoom;
  });
  const zoomed = useRef(false);
  const cursorAt = useRef<number | null>(null);
  const marked = useRef<readonly Mark[]>(NO_MARKS);

  // bands lie behind all lines of uPlot's: their upper and lower edges, which are not drawn
  const banded = series.flatMap(({ band }, index) => (band ? [{ ...band, index }] : []));
  const data = () =>
    [x, ...series.map(({ values }) => values), ...banded.flatMap(({ low, high }) => [high, low])] as uPlot.AlignedData;

  const build = (element: HTMLDivElement): uPlot => {
    zoomed.current = false;
    const mark = scheme === "dark" ? "#f2f4f6" : "#20262c";
    const axis: uPlot.Axis = {
      stroke: text,
      font: "11px system-ui, sans-serif",
      labelFont: "11px system-ui, sans-serif",
      labelSize: 18,
      grid: { stroke: grid, width: 1 },
      ticks: { stroke: grid, width: 1, size: 4 },
    };
    return new uPlot(
      {
        width: element.clientWidth,
        height,
        legend: { show: false },
        scales: {
          x: { time: false, auto: () => !zoomed.current }, // new data do not end a zoom
          y: {
            ...(logarithmic ? { distr: LOGARITHMIC } : { range: (_, low, high) => roomAround(low, high) }),
            ...(yRange && { range: yRange }),
          },
        },
        axes: [
          {
            ...axis,
            label: xLabel,
            size: 30,
            values: (_, ticks) => ticks.map((tick) => formatX(tick)),
            ...(wholeX && { incrs: WHOLE }),
          },
          {
            ...axis,
            label: yLabel,
            size: 54,
            values: (_, ticks) => ticks.map((tick: number | null) => (tick === null ? "" : formatNumber(tick, 3))),
          },
        ],
        cursor: {
          y: false,
          drag: { x: zoom, y: false, setScale: zoom },
          points: { size: 6 },
          ...(syncKey !== undefined && { sync: { key: syncKey } }),
        },
        series: [
          {},
          ...series.map((each, index): uPlot.Series => ({
            label: each.label,
            stroke: each.faint ? `${colors[index]}55` : colors[index],
            width: each.faint ? 1 : 1.75,
            dash: each.dashed ? [6, 4] : undefined,
            show: shown[index],
            spanGaps: !each.gaps,
            points: { show: (self) => each.points ?? self.data[0].length < 3, size: 5 },
          })),
          ...banded.flatMap(({ index }) =>
            ["highest", "lowest"].map((edge): uPlot.Series => ({
              label: `${series[index]?.label}, ${edge}`,
              show: shown[index],
              spanGaps: true,
              points: { show: false },
            })),
          ),
        ],
        bands: banded.map(({ index }, number) => ({
          series: [series.length + 1 + 2 * number, series.length + 2 + 2 * number],
          fill: `${colors[index]}33`,
        })),
        hooks: {
          setCursor: [(self) => setHovered(self.cursor.idx ?? null)],
          setScale: [
            (self, key) => {
              const { min, max } = self.scales.x ?? {};
              const [first, last] = [self.data[0][0], self.data[0].at(-1)];
              if (key !== "x" || min == null || max == null || first === undefined || last === undefined) return;
              const was = zoomed.current;
              zoomed.current = min > first || max < last;
              if (zoomed.current) zooming.current?.([min, max]);
              else if (was) zooming.current?.(null);
            },
          ],
          draw: [
            (self) => drawMarks(self, marked.current, text),
            (self) => {
              const at = cursorAt.current;
              if (at === null) return;
              const left = Math.round(self.valToPos(at, "x", true));
              if (left < self.bbox.left || left > self.bbox.left + self.bbox.width) return;
              self.ctx.save();
              self.ctx.fillStyle = mark;
              self.ctx.fillRect(
                left - 0.75 * devicePixelRatio,
                self.bbox.top,
                1.5 * devicePixelRatio,
                self.bbox.height,
              );
              self.ctx.restore();
            },
          ],
          ready: [
            (self) => {
              self.over.addEventListener("click", (event) => {
                if (self.select.width > 2) return;
                picking.current?.(self.posToVal(event.offsetX, "x"));
              });
            },
          ],
        },
      },
      data(),
      element,
    );
  };

  const { host, plot } = usePlot({ width, height, ready, shape, build });

  const update = useEffectEvent(() => {
    plot.current?.setData(data());
  });
  const dataKey = useDataKey(x, series);
  useEffect(() => update(), [dataKey]);

  const marksKey = JSON.stringify(marks);
  const place = useEffectEvent(() => {
    cursorAt.current = cursor ?? null;
    marked.current = marks;
    plot.current?.redraw(false, false);
  });
  useEffect(() => place(), [cursor, marksKey]);

  const visibility = shown.map(Number).join(" ");
  const show = useEffectEvent(() => {
    shown.forEach((each, index) => plot.current?.setSeries(index + 1, { show: each }));
    banded.forEach(({ index }, number) => {
      for (const edge of [1, 2])
        plot.current?.setSeries(series.length + 2 * number + edge, { show: shown[index] ?? true });
    });
  });
  useEffect(() => show(), [visibility]);

  const at = hovered ?? (x.length > 0 ? x.length - 1 : null);
  return (
    <Box ref={ref} role="figure" aria-label={label} style={{ minWidth: 0 }} {...props}>
      <Box ref={host} h={height} style={{ overflow: "hidden" }} />
      {legend && (
        <Group gap="0 var(--mantine-spacing-md)" mt={4} px="xs">
          {at !== null && x[at] !== undefined && (
            <Text size="xs" c="dimmed" style={{ fontVariantNumeric: "tabular-nums" }}>
              {xLabel ?? "x"} {formatX(x[at])}
            </Text>
          )}
          {series.map((each, index) =>
            each.faint ? null : (
              <Group
                key={each.label}
                component="button"
                gap={6}
                wrap="nowrap"
                aria-pressed={shown[index]}
                onClick={() => setToggled((old) => flipped(old, each.label))}
                style={{
                  border: 0,
                  background: "none",
                  padding: "2px 0",
                  minHeight: 24,
                  cursor: "pointer",
                  color: "inherit",
                  opacity: shown[index] ? 1 : 0.45,
                }}
              >
                <Box
                  w={14}
                  h={0}
                  style={{ borderTop: `3px ${each.dashed ? "dotted" : "solid"} ${colors[index] ?? "currentcolor"}` }}
                />
                <Text size="xs">{each.label}</Text>
                <Text size="xs" c="dimmed" miw={48} ta="left" style={{ fontVariantNumeric: "tabular-nums" }}>
                  {valueAt(each.values, at)}
                </Text>
              </Group>
            ),
          )}
        </Group>
      )}
    </Box>
  );
}

/** Thin broken lines with their labels at the top, where they are in sight. */
function drawMarks(self: uPlot, marks: readonly Mark[], color: string): void {
  const { ctx, bbox } = self;
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = color;
  ctx.lineWidth = devicePixelRatio;
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.textBaseline = "top";
  for (const { x, label } of marks) {
    const left = Math.round(self.valToPos(x, "x", true));
    if (left < bbox.left || left > bbox.left + bbox.width) continue;
    ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(left, bbox.top);
    ctx.lineTo(left, bbox.top + bbox.height);
    ctx.stroke();
    const gap = 4 * devicePixelRatio;
    const fits = left + gap + ctx.measureText(label).width < bbox.left + bbox.width;
    ctx.textAlign = fits ? "left" : "right";
    ctx.fillText(label, left + (fits ? gap : -gap), bbox.top + gap);
  }
  ctx.restore();
}

/** The value at the hovered place, or the last one before it that is there. */
function valueAt(values: readonly (number | null)[], at: number | null): string {
  for (let index = at ?? -1; index >= 0; index -= 1) {
    const value = values[index];
    if (value !== null && value !== undefined) return formatNumber(value);
  }
  return "-";
}

function flipped(old: ReadonlySet<string>, label: string): ReadonlySet<string> {
  const result = new Set(old);
  if (!result.delete(label)) result.add(label);
  return result;
}

/** A number that changes when any of the arrays is another one. */
function useDataKey(x: readonly number[], series: readonly Series[]): number {
  const arrays: readonly unknown[] = [x, ...series.flatMap(({ values, band }) => [values, band?.low, band?.high])];
  const [state, setState] = useState({ arrays, key: 0 });
  if (arrays.length === state.arrays.length && arrays.every((each, index) => each === state.arrays[index]))
    return state.key;
  setState({ arrays, key: state.key + 1 });
  return state.key + 1;
}
