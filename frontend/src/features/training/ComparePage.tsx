import { Anchor, Box, Group, Select, SimpleGrid, Slider, Stack, Switch, Table, Text } from "@mantine/core";
import { IconEqual, IconTrendingDown } from "@tabler/icons-react";
import { useMemo, useState } from "react";
import { Link, useSearchParams } from "react-router";

import { EmptyState } from "@/ui/EmptyState";
import { ErrorNote } from "@/ui/ErrorNote";
import { PageHeader } from "@/ui/PageHeader";
import { Plot, type Series } from "@/ui/Plot";
import { Section } from "@/ui/Section";
import { StateBadge } from "@/ui/StateBadge";

import { differencesOf, distinct } from "./compare";
import { aboveZero, chartsOf, labelOf, overlaid, smooth, type Curves } from "./curves";
import { useCurvesOf, useRunDetails, type RunDetail } from "./hooks";
import { StageBadge } from "./core/StageBadge";

/** Runs side by side: their curves over each other, and only what their specs differ in. */
export function ComparePage() {
  const [search] = useSearchParams();
  const ids = useMemo(() => [...new Set((search.get("runs") ?? "").split(",").filter(Boolean))], [search]);
  const details = useRunDetails(ids);
  const runs = details.flatMap(({ data }) => (data ? [data] : []));
  const error = details.find((query) => query.error !== null)?.error ?? null;
  return (
    <>
      <PageHeader
        title="Compare runs"
        path={[{ label: "Training", to: "/training" }]}
        subtitle="Curves over each other, and what the runs differ in. What is the same is left out."
      />
      <Stack>
        <ErrorNote error={error} />
        {ids.length < 2 ? (
          <EmptyState icon={IconTrendingDown} title="Choose two runs or more">
            Tick them in the <Link to="/training">list of runs</Link>, then press Compare.
          </EmptyState>
        ) : (
          runs.length > 0 && (
            <>
              <Overlay runs={runs} />
              <Differences runs={runs} />
            </>
          )
        )}
      </Stack>
    </>
  );
}

function Overlay({ runs }: { runs: readonly RunDetail[] }) {
  const curves = useCurvesOf(runs).map(({ data }) => data);
  const names = chartsOf([...new Set(curves.flatMap((each) => Object.keys(each?.values ?? {})))]).flatMap(({ lines }) =>
    lines.map(({ name }) => name),
  );
  const [first, setFirst] = useState<string | null>(null);
  const [smoothing, setSmoothing] = useState(0.6);
  const [logarithmic, setLogarithmic] = useState(false);
  const shown = [first ?? "loss", ...["action_loss", "llm_loss", "val_loss"].filter((name) => name !== first)]
    .filter((name) => names.includes(name))
    .slice(0, 4);
  return (
    <Section
      title="Curves"
      actions={
        <Group gap="md">
          <Select
            aria-label="Curve"
            w={220}
            value={shown[0] ?? null}
            onChange={setFirst}
            data={names.map((name) => ({ value: name, label: labelOf(name) }))}
            allowDeselect={false}
            data-testid="compare-curve"
          />
          <Group gap="xs" wrap="nowrap">
            <Text size="sm">Smoothing</Text>
            <Slider
              w={120}
              min={0}
              max={0.99}
              step={0.01}
              value={smoothing}
              onChange={setSmoothing}
              label={(value) => value.toFixed(2)}
              thumbLabel="Smoothing"
            />
          </Group>
          <Switch
            label="Log scale"
            checked={logarithmic}
            onChange={(event) => setLogarithmic(event.currentTarget.checked)}
          />
        </Group>
      }
    >
      {names.length === 0 ? (
        <Text c="dimmed" size="sm">
          None of these runs has logged anything yet.
        </Text>
      ) : (
        <SimpleGrid cols={{ base: 1, lg: shown.length > 1 ? 2 : 1 }}>
          {shown.map((name) => (
            <Overlaid
              key={name}
              name={name}
              runs={runs}
              curves={curves}
              smoothing={smoothing}
              logarithmic={logarithmic}
            />
          ))}
        </SimpleGrid>
      )}
    </Section>
  );
}

interface OverlaidProps {
  name: string;
  runs: readonly RunDetail[];
  curves: readonly (Curves | undefined)[];
  smoothing: number;
  logarithmic: boolean;
}

function Overlaid({ name, runs, curves, smoothing, logarithmic }: OverlaidProps) {
  const { x, lines } = overlaid(curves, name);
  const validation = name.startsWith("val_");
  const labels = distinct(runs.map((run) => run.name));
  const series: Series[] = runs.map((run, index) => {
    const raw = lines[index] ?? [];
    const values = validation ? [...raw] : smooth(raw, smoothing);
    return {
      label: labels[index] ?? run.id,
      values: logarithmic ? aboveZero(values) : values,
      points: validation || undefined,
    };
  });
  return (
    <Plot
      label={`${labelOf(name)} of ${runs.map((run) => run.name).join(", ")}`}
      x={x}
      series={series}
      xLabel="step"
      yLabel={labelOf(name)}
      logarithmic={logarithmic}
      wholeX
      height={300}
      syncKey="compare"
      data-testid="compare-plot"
    />
  );
}

function Differences({ runs }: { runs: readonly RunDetail[] }) {
  const rows = differencesOf(runs);
  const labels = distinct(runs.map((run) => run.name));
  return (
    <Section title="Differences" description="Fields of the specs that are not the same in all of these runs.">
      <Table.ScrollContainer minWidth={200 + 160 * runs.length}>
        <Table aria-label="Differences of the runs" data-testid="compare-differences">
          <Table.Thead>
            <Table.Tr>
              <Table.Th w={220}>Field</Table.Th>
              {runs.map((run, index) => (
                <Table.Th key={run.id}>
                  <Group gap={6}>
                    <Anchor component={Link} to={`/training/${run.id}`} size="sm" fw={600}>
                      {labels[index]}
                    </Anchor>
                    <StageBadge stage={run.stage} />
                    <StateBadge state={run.job.state} cause={run.job.cause} />
                  </Group>
                </Table.Th>
              ))}
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {rows.map(({ path, values }) => (
              <Table.Tr key={path}>
                <Table.Td>
                  <Text size="sm" ff="monospace">
                    {path}
                  </Text>
                </Table.Td>
                {values.map((value, index) => (
                  <Table.Td key={runs[index]?.id ?? index} style={{ overflowWrap: "anywhere" }}>
                    {value}
                  </Table.Td>
                ))}
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
      {rows.length === 0 && (
        <Box>
          <EmptyState icon={IconEqual} title="No differences">
            These runs have the same data, start and settings.
          </EmptyState>
        </Box>
      )}
    </Section>
  );
}
