import { Verdict } from "@/features/evaluations/Verdict";
import { Anchor, Badge, Box, Card, Grid, Group, ScrollArea, SimpleGrid, Stack, Text, Tooltip } from "@mantine/core";
import type { ReactNode } from "react";
import { useSearchParams } from "react-router";

import { DataTable, type Column } from "@/ui/DataTable";
import { formatCount, formatNumber, formatPercent } from "@/ui/format";
import { Section } from "@/ui/Section";
import { isOver } from "@/ui/StateBadge";

import { EpisodePlayer } from "./EpisodePlayer";
import type { EvaluationDetail } from "./core/hooks";
import { Interval } from "./core/Interval";
import { mean, wilson, wrongShare, type ClosedLoopReport, type Outcome, type Share } from "./core/report";

interface Props {
  evaluation: EvaluationDetail;
  /** null while it runs: what is done so far is shown */
  report: ClosedLoopReport | null;
}

const COLUMNS: Column<Outcome>[] = [
  { key: "seed", header: "Seed", width: 72, sort: ({ seed }) => seed, cell: ({ seed }) => seed },
  {
    key: "success",
    header: "Result",
    width: 110,
    sort: ({ success, wrong }) => (success ? 2 : wrong ? 0 : 1),
    cell: ({ success, wrong }) => <Verdict success={success} wrong={wrong} />,
  },
  {
    key: "held",
    header: (
      <Tooltip label="Whether the goal still held at the end of the episode">
        <span>Held</span>
      </Tooltip>
    ),
    width: 70,
    cell: ({ held }) => (held === null ? "-" : held ? "yes" : "no"),
  },
  {
    key: "reward",
    header: (
      <Tooltip label="The highest that was reached">
        <span>Reward</span>
      </Tooltip>
    ),
    align: "right",
    sort: ({ reward }) => reward,
    cell: ({ reward }) => formatNumber(reward, 3),
  },
  {
    key: "steps",
    header: "Steps",
    align: "right",
    sort: ({ steps }) => steps,
    cell: ({ steps }) => formatCount(steps),
  },
  {
    key: "infer",
    header: (
      <Tooltip label="Mean time of one inference, a chunk with its reasoning">
        <span>Inference</span>
      </Tooltip>
    ),
    align: "right",
    sort: ({ mean_infer_ms }) => mean_infer_ms,
    cell: ({ mean_infer_ms }) => `${formatNumber(mean_infer_ms, 3)} ms`,
  },
];

/** Success rate with its interval, the episodes, and the video of one of them with what the policy said. */
export function ClosedLoop({ evaluation, report }: Props) {
  const [search, setSearch] = useSearchParams();
  const outcomes = report?.episodes ?? evaluation.outcomes;
  const first = outcomes[0];
  if (!first) return null;
  const seed = search.get("seed");
  const chosen = outcomes.find((each) => String(each.seed) === seed) ?? first;
  const seen = new Set(report?.seeds_seen_in_training ?? []);
  const columns = COLUMNS.map((column) =>
    column.key === "seed"
      ? {
          ...column,
          cell: (outcome: Outcome) => (
            <Group gap={4} wrap="nowrap">
              <Anchor
                component="button"
                type="button"
                size="sm"
                fw={outcome === chosen ? 700 : 400}
                aria-current={outcome === chosen ? "true" : undefined}
                onClick={() => setSearch({ seed: String(outcome.seed) }, { replace: true })}
              >
                {outcome.seed}
              </Anchor>
              {seen.has(outcome.seed) && (
                <Tooltip label="Seen in training">
                  <Badge size="xs" color="orange">
                    seen
                  </Badge>
                </Tooltip>
              )}
            </Group>
          ),
        }
      : column,
  );
  return (
    <Stack gap="md">
      <Headline evaluation={evaluation} report={report} outcomes={outcomes} />
      <Grid gap="md">
        <Grid.Col span={{ base: 12, lg: 6 }}>
          <Section title="Episodes" description="Choose one to see its video." flush>
            <ScrollArea.Autosize mah="max(360px, calc(100vh - 330px))" type="auto">
              <DataTable
                label="Episodes"
                rows={outcomes}
                columns={columns}
                rowKey={(outcome) => String(outcome.seed)}
                rowTestId="outcome-row"
                minWidth={460}
                onRowClick={(outcome) => setSearch({ seed: String(outcome.seed) }, { replace: true })}
              />
            </ScrollArea.Autosize>
          </Section>
        </Grid.Col>
        <Grid.Col span={{ base: 12, lg: 6 }}>
          <EpisodePlayer key={chosen.seed} evaluation={evaluation} outcome={chosen} />
        </Grid.Col>
      </Grid>
    </Stack>
  );
}

function Headline({ evaluation, report, outcomes }: Props & { outcomes: readonly Outcome[] }) {
  const done = outcomes.filter(({ success }) => success).length;
  const rate = report?.success_rate ?? (outcomes.length > 0 ? done / outcomes.length : 0);
  const interval = report?.interval ?? wilson(done, outcomes.length);
  const held = report?.held;
  const wrong = wrongShare(outcomes);
  const asked = Number(evaluation.settings.episodes ?? outcomes.length);
  const partial = outcomes.length < asked;
  return (
    <Card data-testid="closed-loop-headline" data-rate={rate}>
      <Grid align="center" gap="xl">
        <Grid.Col span={{ base: 12, md: 6 }}>
          <Group gap="lg" wrap="nowrap" align="center">
            <Box>
              <Text fz={40} fw={650} lh={1.1} style={{ fontVariantNumeric: "tabular-nums" }}>
                {formatPercent(rate)}
              </Text>
              <Text size="sm" c="dimmed" style={{ whiteSpace: "nowrap" }}>
                {done} of {outcomes.length} succeeded
              </Text>
            </Box>
            <Box style={{ flex: 1, minWidth: 0 }}>
              <Interval rate={rate} interval={interval} />
              <Text size="xs" c="dimmed" mt={4}>
                {between(interval)}
                {partial &&
                  (isOver(evaluation.job.state)
                    ? `; ${outcomes.length} of ${asked} episodes were run`
                    : `; so far, of ${asked} episodes`)}
              </Text>
            </Box>
          </Group>
        </Grid.Col>
        <Grid.Col span={{ base: 12, md: 6 }}>
          <SimpleGrid cols={{ base: 2, sm: wrong ? 5 : 4 }} spacing="sm">
            <Figure label="Mean reward">
              {formatNumber(report?.mean_reward ?? mean(outcomes.map(({ reward }) => reward)), 3)}
              {report && (
                <Text span size="sm" c="dimmed">
                  {" "}
                  of {formatNumber(report.max_reward, 3)}
                </Text>
              )}
            </Figure>
            <Figure label="Held at the end">
              {held
                ? formatPercent(held.rate)
                : outcomes.some((each) => each.held !== null)
                  ? formatPercent(mean(outcomes.flatMap((each) => (each.held === null ? [] : [Number(each.held)]))))
                  : "-"}
            </Figure>
            {wrong && <WrongObject share={wrong} />}
            <Figure label="Mean inference">
              {formatNumber(mean(outcomes.map(({ mean_infer_ms }) => mean_infer_ms)), 3)} ms
            </Figure>
            <Figure label="Executed steps">{executed(report, evaluation)}</Figure>
          </SimpleGrid>
        </Grid.Col>
      </Grid>
    </Card>
  );
}

/** How often another object than the named one was lifted, with its interval. */
export function WrongObject({ share: { rate, interval } }: { share: Share }) {
  const [low, high] = interval;
  return (
    <Figure label="Wrong object">
      <Tooltip label={`An object other than the one named was lifted; ${between(interval)}`}>
        <span data-testid="wrong-rate">
          {formatPercent(rate)}
          <Text
            span
            display="block"
            size="xs"
            c="dimmed"
            fw={400}
            style={{ whiteSpace: "nowrap" }}
            data-testid="wrong-interval"
          >
            {formatPercent(low)} to {formatPercent(high)}
          </Text>
        </span>
      </Tooltip>
    </Figure>
  );
}

function between([low, high]: readonly [number, number]): string {
  return `95 % interval ${formatPercent(low)} to ${formatPercent(high)}`;
}

function executed(report: ClosedLoopReport | null, evaluation: EvaluationDetail): string {
  const steps = report?.settings.execute_steps ?? evaluation.settings.execute_steps;
  return typeof steps === "number" ? String(steps) : "default";
}

export function Figure({ label, children }: { label: string; children: ReactNode }) {
  return (
    <Box>
      <Text size="xs" c="dimmed">
        {label}
      </Text>
      <Text fw={600} style={{ fontVariantNumeric: "tabular-nums" }}>
        {children}
      </Text>
    </Box>
  );
}
