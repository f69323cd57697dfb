import { Anchor, Card, Grid, SimpleGrid, Stack, Table, Text } from "@mantine/core";
import { IconChecklist } from "@tabler/icons-react";
import { useState } from "react";
import { Link, useSearchParams } from "react-router";

import { EmptyState } from "@/ui/EmptyState";
import { ErrorNote } from "@/ui/ErrorNote";
import { formatNumber, formatPercent, plural } from "@/ui/format";
import { PageHeader } from "@/ui/PageHeader";
import { Section } from "@/ui/Section";

import { Figure, WrongObject } from "./ClosedLoop";
import { Verdict } from "./Verdict";
import { EpisodePlayer } from "./EpisodePlayer";
import { what } from "./core/EvaluationsTable";
import { useKinds } from "@/features/robots/core/tasks";
import { useEvaluation, type EvaluationDetail } from "./core/hooks";
import { Interval } from "./core/Interval";
import { closedLoop, openLoop, paired, wrongShare } from "./core/report";

/** Two evaluations side by side: figures, then the same seeds next to each other. */
export function ComparePage() {
  const [search] = useSearchParams();
  const [first = "", second = ""] = (search.get("ids") ?? "").split(",");
  const one = useEvaluation(first, first !== "");
  const two = useEvaluation(second, second !== "");
  return (
    <>
      <PageHeader
        title="Compare evaluations"
        path={[{ label: "Evaluations", to: "/evaluations" }]}
        subtitle="The same seeds set up the same scene."
      />
      <ErrorNote error={one.error ?? two.error} />
      {first === "" || second === "" ? (
        <EmptyState icon={IconChecklist} title="Choose two evaluations">
          Tick them in the <Link to="/evaluations">list</Link>, then press Compare.
        </EmptyState>
      ) : (
        one.data && two.data && <Both one={one.data} two={two.data} />
      )}
    </>
  );
}

function Both({ one, two }: { one: EvaluationDetail; two: EvaluationDetail }) {
  const kinds = useKinds();
  return (
    <Stack gap="md">
      <SimpleGrid cols={{ base: 1, md: 2 }} data-testid="evaluations-compared">
        {[one, two].map((evaluation) => (
          <Card key={evaluation.id}>
            <Anchor component={Link} to={`/evaluations/${evaluation.id}`} fw={600} size="sm">
              {evaluation.checkpoint_name}
            </Anchor>
            <Text size="xs" c="dimmed">
              {what(evaluation, kinds)}
            </Text>
            <Summary evaluation={evaluation} />
          </Card>
        ))}
      </SimpleGrid>
      {one.kind === "closed_loop" ? <Seeds one={one} two={two} /> : <Dimensions one={one} two={two} />}
    </Stack>
  );
}

function Summary({ evaluation }: { evaluation: EvaluationDetail }) {
  const { success_rate, interval, mean_reward, error_of_range, reasoning_match } = evaluation;
  const wrong = wrongShare(closedLoop(evaluation.report)?.episodes ?? evaluation.outcomes);
  if (success_rate !== null)
    return (
      <Stack gap="xs" mt="xs">
        <Text fz={28} fw={650} lh={1.1}>
          {formatPercent(success_rate)}
        </Text>
        <Interval rate={success_rate} interval={interval} />
        <SimpleGrid cols={2}>
          <Figure label="Mean reward">{mean_reward === null ? "-" : formatNumber(mean_reward, 3)}</Figure>
          {wrong && <WrongObject share={wrong} />}
        </SimpleGrid>
      </Stack>
    );
  return (
    <SimpleGrid cols={2} mt="xs">
      <Figure label="Mean action error">
        {error_of_range === null ? "-" : `${formatPercent(error_of_range, 1)} of range`}
      </Figure>
      <Figure label="Substep as labelled">{reasoning_match === null ? "-" : formatPercent(reasoning_match)}</Figure>
    </SimpleGrid>
  );
}

function Seeds({ one, two }: { one: EvaluationDetail; two: EvaluationDetail }) {
  const pairs = paired(
    closedLoop(one.report)?.episodes ?? one.outcomes,
    closedLoop(two.report)?.episodes ?? two.outcomes,
  );
  const [seed, setSeed] = useState<number | null>(null);
  const chosen = pairs.find((pair) => pair.seed === seed) ?? pairs[0];
  if (!chosen)
    return (
      <Section title="Seed by seed">
        <Text size="sm" c="dimmed">
          The two have no seed in common. Evaluate both with the same first seed to compare episode by episode.
        </Text>
      </Section>
    );
  const only = (wins: (pair: (typeof pairs)[number]) => boolean) => pairs.filter(wins).length;
  return (
    <>
      <Section
        title="Seed by seed"
        description={`Of ${plural(pairs.length, "seed")} that both ran, only the left one succeeds on ${only(({ first, second }) => first.success && !second.success)}, only the right one on ${only(({ first, second }) => !first.success && second.success)}.`}
        flush
      >
        <Table.ScrollContainer minWidth={480} mah={360}>
          <Table aria-label="Seed by seed" highlightOnHover>
            <Table.Thead>
              <Table.Tr>
                <Table.Th>Seed</Table.Th>
                <Table.Th>Left</Table.Th>
                <Table.Th ta="right">Reward</Table.Th>
                <Table.Th>Right</Table.Th>
                <Table.Th ta="right">Reward</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {pairs.map((pair) => (
                <Table.Tr
                  key={pair.seed}
                  onClick={() => setSeed(pair.seed)}
                  style={{ cursor: "pointer" }}
                  bg={pair === chosen ? "var(--mantine-primary-color-light)" : undefined}
                >
                  <Table.Td>{pair.seed}</Table.Td>
                  <Table.Td>
                    <Verdict success={pair.first.success} wrong={pair.first.wrong} />
                  </Table.Td>
                  <Table.Td ta="right">{formatNumber(pair.first.reward, 3)}</Table.Td>
                  <Table.Td>
                    <Verdict success={pair.second.success} wrong={pair.second.wrong} />
                  </Table.Td>
                  <Table.Td ta="right">{formatNumber(pair.second.reward, 3)}</Table.Td>
                </Table.Tr>
              ))}
            </Table.Tbody>
          </Table>
        </Table.ScrollContainer>
      </Section>
      <Grid gap="md">
        <Grid.Col span={{ base: 12, lg: 6 }}>
          <EpisodePlayer key={`one-${chosen.seed}`} evaluation={one} outcome={chosen.first} />
        </Grid.Col>
        <Grid.Col span={{ base: 12, lg: 6 }}>
          <EpisodePlayer key={`two-${chosen.seed}`} evaluation={two} outcome={chosen.second} />
        </Grid.Col>
      </Grid>
    </>
  );
}

function Dimensions({ one, two }: { one: EvaluationDetail; two: EvaluationDetail }) {
  const first = openLoop(one.report);
  const second = openLoop(two.report);
  if (!first || !second)
    return (
      <Text size="sm" c="dimmed">
        Both must be done to be compared.
      </Text>
    );
  return (
    <Section title="Error by dimension" description="As a share of the range that training saw." flush>
      <Table.ScrollContainer minWidth={420}>
        <Table aria-label="Error by dimension" verticalSpacing={4}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Dimension</Table.Th>
              <Table.Th ta="right">Left</Table.Th>
              <Table.Th ta="right">Right</Table.Th>
              <Table.Th ta="right">Difference</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {first.action_names.map((name, index) => {
              const a = first.error_of_range[index] ?? NaN;
              const b = second.error_of_range[second.action_names.indexOf(name)] ?? NaN;
              return (
                <Table.Tr key={name}>
                  <Table.Td>{name}</Table.Td>
                  <Table.Td ta="right">{formatPercent(a, 1)}</Table.Td>
                  <Table.Td ta="right">{formatPercent(b, 1)}</Table.Td>
                  <Table.Td ta="right" c={b < a ? "teal" : b > a ? "red" : "dimmed"}>
                    {b > a ? "+" : ""}
                    {formatPercent(b - a, 1)}
                  </Table.Td>
                </Table.Tr>
              );
            })}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </Section>
  );
}
