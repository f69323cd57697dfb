import {
  Alert,
  Badge,
  Card,
  Grid,
  Group,
  Progress,
  ScrollArea,
  Select,
  SimpleGrid,
  Stack,
  Table,
  Text,
} from "@mantine/core";
import { IconCheck, IconX } from "@tabler/icons-react";
import { useMemo, useState } from "react";

import { formatNumber, formatPercent, plural } from "@/ui/format";
import { Loaded } from "@/ui/Loaded";
import { Plot } from "@/ui/Plot";
import { Section } from "@/ui/Section";

import { Figure } from "./ClosedLoop";
import { useDetails, type EvaluationDetail } from "./core/hooks";
import {
  agrees,
  apart,
  column,
  mean,
  type OpenLoopDetails,
  type OpenLoopEpisode,
  type OpenLoopReport,
} from "./core/report";

interface Props {
  evaluation: EvaluationDetail;
  report: OpenLoopReport;
}

/** Predicted against recorded: the error by dimension and along the chunk, and each episode in full. */
export function OpenLoop({ evaluation, report }: Props) {
  return (
    <Stack gap="md">
      <Card data-testid="open-loop-headline">
        <SimpleGrid cols={{ base: 2, sm: 4 }}>
          <Figure label="Mean action error">{formatPercent(mean(report.error_of_range), 1)} of range</Figure>
          <Figure label="Substep as labelled">
            {report.reasoning_match === null ? "no labels" : formatPercent(report.reasoning_match)}
          </Figure>
          <Figure label="Predictions">{plural(report.predictions, "prediction")}</Figure>
          <Figure label="Episodes">{plural(report.episodes.length, "episode")}</Figure>
        </SimpleGrid>
      </Card>
      <Grid gap="md">
        <Grid.Col span={{ base: 12, lg: 6 }}>
          <ErrorByDimension report={report} />
        </Grid.Col>
        <Grid.Col span={{ base: 12, lg: 6 }}>
          <ErrorAlongChunk report={report} />
        </Grid.Col>
      </Grid>
      <Episodes evaluation={evaluation} report={report} />
    </Stack>
  );
}

function ErrorByDimension({ report }: { report: OpenLoopReport }) {
  const most = Math.max(...report.error_of_range, 1e-9);
  return (
    <Section
      title="Error by dimension"
      description="Mean absolute error, in units of the action and as a share of the range that training saw."
      flush
    >
      <Table.ScrollContainer minWidth={420}>
        <Table aria-label="Error by dimension" verticalSpacing={4} data-testid="error-by-dimension">
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Dimension</Table.Th>
              <Table.Th ta="right">Error</Table.Th>
              <Table.Th ta="right">Of range</Table.Th>
              <Table.Th w="38%" />
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {report.action_names.map((name, index) => {
              const part = report.error_of_range[index] ?? 0;
              return (
                <Table.Tr key={name}>
                  <Table.Td>{name}</Table.Td>
                  <Table.Td ta="right">{formatNumber(report.error[index] ?? NaN, 3)}</Table.Td>
                  <Table.Td ta="right" style={{ whiteSpace: "nowrap" }}>
                    {formatPercent(part, 1)}
                  </Table.Td>
                  <Table.Td>
                    <Progress value={(100 * part) / most} size="sm" aria-label={`${name}: ${formatPercent(part, 1)}`} />
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

function ErrorAlongChunk({ report }: { report: OpenLoopReport }) {
  const points = useMemo(
    () =>
      Object.entries(report.error_at)
        .map(([step, error]) => ({ step: Number(step), error: 100 * error }))
        .sort((a, b) => a.step - b.step),
    [report],
  );
  const x = useMemo(() => points.map(({ step }) => step), [points]);
  const series = useMemo(
    () => [{ label: "error", values: points.map(({ error }) => error), points: points.length < 60 }],
    [points],
  );
  return (
    <Section
      title="Error along the chunk"
      description="Mean over the dimensions, by position of the action in its chunk. Where it grows, execute fewer steps before asking again."
    >
      <Plot
        label="Error by step of the chunk"
        x={x}
        series={series}
        xLabel="steps into the chunk"
        wholeX
        yLabel="% of range"
        height={300}
        data-testid="error-along-chunk"
      />
    </Section>
  );
}

function episodeName(episode: OpenLoopEpisode): string {
  const name = episode.path.split(/[\\/]/).at(-1) ?? episode.path;
  // the studio names files by the episode's id: its first letters tell it from the others
  return name.replace(/^([0-9a-f]{8})[0-9a-f]{24}\.hdf5$/, "$1");
}

function Episodes({ evaluation, report }: Props) {
  const [chosen, setChosen] = useState(0);
  const episode = report.episodes[chosen];
  const name = episode ? (episode.details ?? `episode-${String(chosen).padStart(3, "0")}.json`) : null;
  const there = name !== null && evaluation.files.includes(name);
  const details = useDetails(evaluation.id, there ? name : null);
  return (
    <Section
      title="Episode by episode"
      description="Predicted against recorded actions, and what the policy said against the label."
      data-testid="open-loop-episode"
      actions={
        <Select
          aria-label="Episode"
          w={340}
          allowDeselect={false}
          value={String(chosen)}
          onChange={(value) => setChosen(Number(value ?? 0))}
          data={report.episodes.map((each, index) => ({
            value: String(index),
            label: `Episode ${index + 1}: ${episodeName(each)}${each.held_out === false ? ", trained on" : each.held_out ? ", held out" : ""}`,
          }))}
          data-testid="episode-choice"
        />
      }
    >
      {episode?.held_out === false && (
        <Alert color="orange" mb="sm">
          This checkpoint was trained on this episode: a small error here says little.
        </Alert>
      )}
      {there ? (
        <Loaded query={details} lines={6}>
          {(found) => <Episode details={found} />}
        </Loaded>
      ) : (
        <Text size="sm" c="dimmed">
          The actions of this episode were not kept.
        </Text>
      )}
    </Section>
  );
}

function Episode({ details }: { details: OpenLoopDetails }) {
  const [at, setAt] = useState<number | null>(null);
  const { steps, plots } = useMemo(() => {
    const predicted = apart(details.steps, details.predicted);
    const recorded = apart(details.steps, details.recorded);
    return {
      steps: predicted.steps,
      plots: details.action_names.map((name, index) => ({
        name,
        series: [
          { label: "recorded", values: column(recorded.rows, index) },
          { label: "predicted", values: column(predicted.rows, index), gaps: true },
        ],
      })),
    };
  }, [details]);
  return (
    <Grid gap="lg">
      <Grid.Col span={{ base: 12, xl: 8 }}>
        <SimpleGrid cols={{ base: 1, md: 2 }} spacing="md">
          {plots.map(({ name, series }) => (
            <div key={name}>
              <Text size="xs" fw={500}>
                {name}
              </Text>
              <Plot
                label={`${name}, predicted and recorded`}
                x={steps}
                series={series}
                xLabel="step"
                wholeX
                height={130}
                cursor={at}
                onPick={(x) => setAt(Math.round(x))}
                syncKey="open-loop"
                data-testid="action-plot"
              />
            </div>
          ))}
        </SimpleGrid>
      </Grid.Col>
      <Grid.Col span={{ base: 12, xl: 4 }}>
        <Reasoning details={details} at={at} pick={setAt} />
      </Grid.Col>
    </Grid>
  );
}

function Reasoning({
  details,
  at,
  pick,
}: {
  details: OpenLoopDetails;
  at: number | null;
  pick: (step: number) => void;
}) {
  const matches = details.reasoning.map(({ said, label }) => agrees(said, label));
  const judged = matches.filter((match) => match !== null);
  const here = at === null ? -1 : details.reasoning.findLastIndex(({ step }) => step <= at);
  return (
    <>
      <Group justify="space-between" mb={4}>
        <Text size="sm" fw={500}>
          Generated against labelled substep
        </Text>
        {judged.length > 0 && (
          <Badge color={judged.every(Boolean) ? "teal" : "gray"}>
            {judged.filter(Boolean).length} of {judged.length} match
          </Badge>
        )}
      </Group>
      <Text size="xs" c="dimmed" mb={4}>
        Instruction: {details.instruction}
      </Text>
      <ScrollArea.Autosize mah={620} type="auto">
        <Table verticalSpacing={4} aria-label="Generated against labelled substep" data-testid="reasoning-table">
          <Table.Thead>
            <Table.Tr>
              <Table.Th w={56}>Step</Table.Th>
              <Table.Th>Generated, and the label where it differs</Table.Th>
              <Table.Th w={30} />
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {details.reasoning.map(({ step, said, label }, index) => {
              const match = matches[index] ?? null;
              return (
                <Table.Tr
                  key={step}
                  data-match={match ?? undefined}
                  bg={index === here ? "var(--mantine-primary-color-light)" : undefined}
                  onClick={() => pick(step)}
                  style={{ cursor: "pointer" }}
                >
                  <Table.Td>{step}</Table.Td>
                  <Table.Td>
                    <Text size="sm" style={{ overflowWrap: "anywhere" }}>
                      {said || "(nothing)"}
                    </Text>
                    {match === false && (
                      <Text size="xs" c="dimmed">
                        label: {label}
                      </Text>
                    )}
                    {match === null && (
                      <Text size="xs" c="dimmed">
                        not labelled
                      </Text>
                    )}
                  </Table.Td>
                  <Table.Td c={match === null ? "dimmed" : match ? "teal" : "red"}>
                    {match === true && <IconCheck size={16} aria-label="as labelled" />}
                    {match === false && <IconX size={16} aria-label="differs from the label" />}
                  </Table.Td>
                </Table.Tr>
              );
            })}
          </Table.Tbody>
        </Table>
      </ScrollArea.Autosize>
    </>
  );
}
