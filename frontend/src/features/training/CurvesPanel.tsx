import { Box, Card, Center, Group, SimpleGrid, Slider, Switch, Text, Title } from "@mantine/core";
import { useLocalStorage } from "@mantine/hooks";
import { useCallback, useMemo, useState } from "react";

import { ErrorNote } from "@/ui/ErrorNote";
import { Plot, type Mark, type Series } from "@/ui/Plot";
import { usePlotColors } from "@/ui/usePlot";
import { isOver } from "@/ui/StateBadge";

import {
  aboveZero,
  attemptMarks,
  chartsOf,
  isThinned,
  refined,
  smooth,
  type Chart,
  type Curves,
  type Range,
} from "./curves";
import { useCurves, useFinerCurves, type Run } from "./hooks";

const ALWAYS = ["loss", "learning_rate", "speed"];
const NOTHING: Curves = { steps: [], attempts: [], values: {}, low: {}, high: {}, total: 0 };

interface View {
  smoothing: number;
  logarithmic: boolean;
}

/** All curves of a run. They grow while it trains; where it was resumed, the first step of the attempt is marked. */
export function CurvesPanel({ run }: { run: Pick<Run, "id" | "job"> }) {
  const query = useCurves(run);
  const [view, setView] = useLocalStorage<View>({
    key: "studio-curves",
    defaultValue: { smoothing: 0.6, logarithmic: false },
    getInitialValueInEffect: false,
  });
  const whole = query.data ?? NOTHING;
  const [range, setRange] = useState<Range | null>(null);
  const finer = useFinerCurves(run, isThinned(whole) ? range : null);
  const curves = useMemo(
    () => (range !== null && finer.data ? refined(whole, finer.data) : whole),
    [whole, finer.data, range],
  );
  const look = useCallback((x: readonly [number, number] | null) => {
    // whole steps, so that the same place is asked for once
    setRange((old) => {
      if (x === null) return null;
      const wanted: Range = [Math.max(1, Math.floor(x[0])), Math.max(2, Math.ceil(x[1]))];
      return old?.[0] === wanted[0] && old[1] === wanted[1] ? old : wanted;
    });
  }, []);
  const charts = chartsOf(Object.keys(curves.values), ALWAYS);
  const marks = useMemo(() => attemptMarks(curves), [curves]);
  const [main, ...others] = charts;
  return (
    <Box data-testid="run-curves" data-points={curves.steps.length}>
      <ErrorNote error={query.error ?? finer.error} />
      {main && (
        <Card>
          <Group justify="space-between" mb="xs">
            <Title order={2}>{main.title}</Title>
            <Group gap="lg">
              <Group gap="sm" wrap="nowrap">
                <Text size="sm" id="smoothing-label">
                  Smoothing
                </Text>
                <Slider
                  w={140}
                  min={0}
                  max={0.99}
                  step={0.01}
                  value={view.smoothing}
                  onChange={(smoothing) => setView({ ...view, smoothing })}
                  label={(value) => (value === 0 ? "off" : value.toFixed(2))}
                  thumbLabel="Smoothing"
                  data-testid="smoothing"
                />
              </Group>
              <Switch
                label="Log scale"
                checked={view.logarithmic}
                onChange={(event) => setView({ ...view, logarithmic: event.currentTarget.checked })}
                data-testid="log-scale"
              />
            </Group>
          </Group>
          <CurvesPlot chart={main} curves={curves} view={view} marks={marks} height={300} run={run} onZoom={look} />
        </Card>
      )}
      <SimpleGrid cols={{ base: 1, lg: 2, xl: 3 }} mt="md" spacing="md">
        {others.map((chart) => (
          <Card key={chart.key}>
            <Title order={3} mb="xs">
              {chart.title}
            </Title>
            <CurvesPlot chart={chart} curves={curves} view={view} marks={marks} height={180} run={run} />
          </Card>
        ))}
      </SimpleGrid>
    </Box>
  );
}

function baseOf(chart: Chart, name: string): string {
  return chart.key === "loss" ? name.replace(/^val_/, "") : name;
}

interface PlotProps {
  chart: Chart;
  curves: Curves;
  view: View;
  marks: readonly Mark[];
  height: number;
  run: Pick<Run, "job">;
  onZoom?: (x: readonly [number, number] | null) => void;
}

function CurvesPlot({ chart, curves, view, marks, height, run, onZoom }: PlotProps) {
  const { smoothing } = view;
  const logarithmic = view.logarithmic && chart.loss;
  // the learning rate is no measurement: there is nothing to smooth
  const smoothed = chart.key === "learning_rate" ? 0 : smoothing;
  const { palette } = usePlotColors();
  const series = useMemo(() => {
    // held out and trained on are one colour, told apart by their line
    const bases = [...new Set(chart.lines.map(({ name }) => baseOf(chart, name)))];
    const fit = (values: (number | null)[]) => (logarithmic ? aboveZero(values) : values);
    return chart.lines.flatMap(({ name, label, validation }): Series[] => {
      const raw = curves.values[name] ?? [];
      const color = palette[bases.indexOf(baseOf(chart, name)) % palette.length];
      const [low, high] = [curves.low[name], curves.high[name]];
      const band = low && high && { low: fit(low), high: fit(high) };
      if (validation) return [{ label, color, values: fit(raw), dashed: chart.key === "loss", points: true }];
      if (band) return [{ label, color, values: fit(smooth(raw, smoothed)), band }];
      return smoothed > 0
        ? [
            { label: `${label}, as logged`, color, values: fit(raw), faint: true },
            { label, color, values: fit(smooth(raw, smoothed)) },
          ]
        : [{ label, color, values: fit(raw) }];
    });
  }, [chart, curves, smoothed, logarithmic, palette]);
  if (curves.steps.length === 0)
    return (
      <Center h={height + 26}>
        <Text size="sm" c="dimmed">
          {isOver(run.job.state) ? "Nothing was logged." : "Curves appear with the first logged step."}
        </Text>
      </Center>
    );
  return (
    <Plot
      label={`${chart.title} by step`}
      x={curves.steps}
      series={series}
      xLabel="step"
      yLabel={chart.yLabel}
      logarithmic={logarithmic}
      marks={marks}
      height={height}
      wholeX
      syncKey="run"
      onZoom={onZoom}
      data-testid={`curve-${chart.key}`}
    />
  );
}
