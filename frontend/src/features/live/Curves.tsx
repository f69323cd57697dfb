import { Group, SegmentedControl, Text } from "@mantine/core";
import { useElementSize, useMergedRef } from "@mantine/hooks";
import { useEffect, useEffectEvent, useRef, useState } from "react";
import uPlot from "uplot";

import { formatNumber } from "@/ui/format";
import { roomAround, usePlot, usePlotColors } from "@/ui/usePlot";

import { useLiveRobot, useNow } from "./hooks";
import classes from "./live.module.css";
import { jointGroups, PAST_SECONDS } from "./telemetry";

/** Often enough to follow, seldom enough to cost little. */
const DRAW_MS = 100;

/** What was sent to the chosen joints in the last seconds (lines), and what the policy predicts (broken lines). */
export function Curves() {
  const names = useNow(({ joint_names: joints }) => joints) ?? [];
  const groups = jointGroups(names);
  const [chosen, setChosen] = useState<string | null>(null);
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set());
  // Tasks of one arm are done with the right one.
  const group = groups.find(({ label }) => label === (chosen ?? "right")) ?? groups[0];
  const joints = group?.joints ?? [];
  const { palette } = usePlotColors();
  const toggle = (name: string) => {
    const next = new Set(hidden);
    if (!next.delete(name)) next.add(name);
    setHidden(next);
  };
  return (
    <section className={`${classes.panel ?? ""} ${classes.curves ?? ""}`} aria-label="Actions" data-testid="live-plot">
      {/* on a phone the legend has a line of its own */}
      <Group justify="space-between" gap="4px 12px">
        <Group gap="sm" wrap="nowrap" style={{ flex: "1 1 260px", minWidth: 0 }}>
          <Text size="xs" c="dimmed" visibleFrom="sm" style={{ whiteSpace: "nowrap" }}>
            Sent —, predicted - -
          </Text>
          <div className={classes.legend}>
            {joints.map((joint, index) => {
              const name = names[joint] ?? "";
              return (
                <button key={joint} type="button" aria-pressed={!hidden.has(name)} onClick={() => toggle(name)}>
                  <span className={classes.swatch} style={{ background: palette[index % palette.length] }} />
                  {shortName(name, group?.label ?? "")}
                </button>
              );
            })}
          </div>
        </Group>
        {groups.length > 1 && (
          <SegmentedControl
            size="xs"
            style={{ flexShrink: 0 }}
            data={groups.map(({ label }) => label)}
            value={group?.label ?? ""}
            onChange={setChosen}
            aria-label="Joints"
            data-testid="live-joints"
          />
        )}
      </Group>
      <Plot joints={joints.filter((joint) => !hidden.has(names[joint] ?? ""))} all={joints} />
    </section>
  );
}

/** left_wrist_angle among the left arm's joints is the wrist angle. */
function shortName(name: string, group: string): string {
  return (name.startsWith(group) ? name.slice(group.length + 1) : name).replaceAll("_", " ");
}

function Plot({ joints, all }: { joints: readonly number[]; all: readonly number[] }) {
  const { telemetry } = useLiveRobot();
  const { ref: sized, width, height } = useElementSize();
  const drawn = useRef(-1);
  const { scheme, palette, grid, text: stroke } = usePlotColors();
  const ready = width > 60 && height > 30;

  const data = (): uPlot.AlignedData => {
    const { seconds, sent, predicted } = telemetry.curves(joints);
    return [seconds, ...sent, ...predicted];
  };

  const build = (element: HTMLDivElement): uPlot => {
    const color = (joint: number) => palette[all.indexOf(joint) % palette.length];
    const axis: uPlot.Axis = {
      stroke,
      font: "10px system-ui, sans-serif",
      gap: 3,
      grid: { stroke: grid, width: 1 },
      ticks: { show: false },
    };
    return new uPlot(
      {
        width,
        height,
        padding: [6, 8, 0, 0],
        legend: { show: false },
        cursor: { show: false },
        scales: {
          x: { time: false, range: (_, __, max) => [-PAST_SECONDS, Math.max(1, max)] },
          y: { range: (_, low, high) => roomAround(low, high) },
        },
        axes: [
          {
            ...axis,
            size: 18,
            space: 64,
            values: (_, ticks) => ticks.map((tick) => (tick === 0 ? "now" : `${tick} s`)),
          },
          { ...axis, size: 42, space: 22, values: (_, ticks) => ticks.map((tick) => formatNumber(tick, 3)) },
        ],
        series: [
          {},
          ...joints.map((joint): uPlot.Series => ({ stroke: color(joint), width: 1.75, points: { show: false } })),
          ...joints.map((joint): uPlot.Series => ({
            stroke: color(joint),
            width: 1.25,
            dash: [4, 4],
            spanGaps: true,
            points: { show: false },
          })),
        ],
      },
      data(),
      element,
    );
  };

  const shape = JSON.stringify([joints, all, scheme]);
  const { host, plot } = usePlot({ width, height, ready, shape, build });
  const hostRef = useMergedRef(sized, host);

  const follow = useEffectEvent(() => {
    if (document.visibilityState !== "visible" || telemetry.version === drawn.current) return;
    drawn.current = telemetry.version;
    plot.current?.setData(data());
  });
  useEffect(() => {
    const timer = setInterval(() => follow(), DRAW_MS);
    return () => clearInterval(timer);
  }, []);

  return (
    <div className={classes.plot}>
      <div ref={hostRef} />
    </div>
  );
}
