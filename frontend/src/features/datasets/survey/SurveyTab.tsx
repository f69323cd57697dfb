import { Anchor, Badge, Stack, Text } from "@mantine/core";
import { IconChartHistogram } from "@tabler/icons-react";
import { Link } from "react-router";

import { DataTable, type Column } from "@/ui/DataTable";
import { EmptyState } from "@/ui/EmptyState";
import { ErrorNote } from "@/ui/ErrorNote";
import { formatCount, formatPercent, formatSeconds, plural } from "@/ui/format";
import { Loaded } from "@/ui/Loaded";
import { RoleButton } from "@/ui/RoleButton";
import { Section } from "@/ui/Section";

import type { Dataset } from "@/features/datasets/core/hooks";

import { median } from "./bins";
import { Dimensions } from "./Dimensions";
import { useMeasure, useMeasuring, useSurvey, type Found, type Survey, type SurveyedEpisode } from "./hooks";
import { Lengths } from "./Lengths";
import { Sheet } from "./Sheet";
import { Starts } from "./Starts";
import classes from "./survey.module.css";

/** A dataset at one look: what its episodes are like, which stand out and why, which are there twice. */
export function SurveyTab({ dataset }: { dataset: Dataset }) {
  const query = useSurvey(dataset.id);
  return <Loaded query={query}>{(survey) => <Look dataset={dataset} survey={survey} />}</Loaded>;
}

function Look({ dataset, survey }: { dataset: Dataset; survey: Survey }) {
  const measure = useMeasure(dataset.id);
  const running = useMeasuring(dataset.id);
  const left = survey.missing + survey.unreadable.length;
  const button = (
    <RoleButton
      needs="operator"
      onClick={() => measure.mutate()}
      loading={measure.isPending}
      because={dataset.episodes === 0 ? "There are no episodes yet." : running}
      data-testid="survey-measure"
    >
      Measure {plural(left, "episode")}
    </RoleButton>
  );
  const { survey: found, episodes, dimension_names: names } = survey;
  if (!found && survey.unreadable.length > 0)
    return (
      <Stack>
        <Section title="No episode can be read" actions={button}>
          <ErrorNote error={measure.error} />
        </Section>
        <Outliers found={null} episodes={episodes} unreadable={survey.unreadable} />
      </Stack>
    );
  if (!found)
    return (
      <>
        <EmptyState icon={IconChartHistogram} title="Nothing measured yet" action={button}>
          Every frame and step is read once; afterwards this page shows lengths, ranges, where episodes begin, what
          stands out and what is there twice.
        </EmptyState>
        <ErrorNote error={measure.error} />
      </>
    );
  return (
    <Stack data-testid="survey">
      {left > 0 && (
        <Section title={`${plural(left, "episode")} not measured`} actions={button}>
          <ErrorNote error={measure.error} />
        </Section>
      )}
      <Tiles found={found} episodes={episodes} />
      <Outliers found={found} episodes={episodes} unreadable={survey.unreadable} />
      <div className={classes.pair}>
        <Lengths episodes={episodes} />
        <Starts found={found} episodes={episodes} names={names} />
      </div>
      <Twins found={found} episodes={episodes} />
      <Dimensions found={found} episodes={episodes} names={names} />
      <Sheet episodes={episodes} cameras={dataset.cameras} />
    </Stack>
  );
}

function Tiles({ found, episodes }: { found: Found; episodes: readonly SurveyedEpisode[] }) {
  const judged = episodes.filter(({ success }) => success !== null);
  const succeeded = judged.filter(({ success }) => success).length;
  const resting = episodes.reduce((sum, { idle_head, idle_tail }) => sum + idle_head + idle_tail, 0);
  const tiles: [string, string, string][] = [
    [
      "Measured",
      formatCount(found.episodes),
      `${plural(found.steps, "step")}${found.duration_s === null ? "" : `, ${formatSeconds(found.duration_s)}`}`,
    ],
    ["Usual length", plural(Math.round(median(episodes.map(({ steps }) => steps))), "step"), "half are longer"],
    [
      "Success",
      judged.length === 0 ? "not marked" : formatPercent(succeeded / judged.length),
      `${formatCount(judged.length)} of ${formatCount(episodes.length)} are marked`,
    ],
    ["At rest at the ends", formatPercent(resting / Math.max(1, found.steps), 1), plural(resting, "step")],
  ];
  return (
    <dl className={classes.tiles} data-testid="survey-tiles">
      {tiles.map(([name, value, more]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>
            {value}
            <small>{more}</small>
          </dd>
        </div>
      ))}
    </dl>
  );
}

interface Odd {
  key: string;
  episode: SurveyedEpisode | { id: string; number: number };
  kind: string;
  step: number | null;
  text: string;
}

const ODD: Column<Odd>[] = [
  {
    key: "episode",
    header: "Episode",
    width: 110,
    sort: ({ episode }) => episode.number,
    cell: ({ episode, step }) => (
      <Anchor component={Link} to={`/episodes/${episode.id}${step === null ? "" : `?step=${step}`}`} fw={600}>
        {episode.number}
        {step !== null && `, step ${step}`}
      </Anchor>
    ),
  },
  {
    key: "text",
    header: "Why",
    sort: ({ kind }) => kind,
    cell: ({ kind, text }) => (
      <Text size="sm" component="div">
        <Badge variant="light" tt="none" mr="xs">
          {kind}
        </Badge>
        {text}
      </Text>
    ),
  },
];

function Outliers({
  found,
  episodes,
  unreadable,
}: {
  found: Found | null;
  episodes: readonly SurveyedEpisode[];
  unreadable: Survey["unreadable"];
}) {
  const rows: Odd[] = [
    ...unreadable.map(({ id, number, error }) => ({
      key: id,
      episode: { id, number },
      kind: "broken",
      step: null,
      text: error,
    })),
    ...(found?.outliers ?? []).flatMap(({ episode, kind, step, text }, at) => {
      const row = episodes[episode];
      return row ? [{ key: String(at), episode: row, kind, step, text }] : [];
    }),
  ];
  return (
    <Section
      title="What stands out"
      description={
        rows.length === 0 ? "Nothing: no episode differs much from the others." : "The oddest first. Look, then decide."
      }
      flush
      data-testid="survey-outliers"
    >
      {rows.length > 0 && (
        <DataTable
          label="What stands out"
          rows={rows}
          columns={ODD}
          rowKey={({ key }) => key}
          rowTestId="survey-odd"
          minWidth={300}
        />
      )}
    </Section>
  );
}

function Twins({ found, episodes }: { found: Found; episodes: readonly SurveyedEpisode[] }) {
  if (found.near_duplicates.length === 0) return null;
  return (
    <Section
      title="Nearly the same motion"
      description="Recorded twice, or one replays the other: such pairs count double in a training."
      data-testid="survey-twins"
    >
      <Stack gap={4}>
        {found.near_duplicates.slice(0, 50).map(({ first, second, distance }) => {
          const [one, other] = [episodes[first], episodes[second]];
          if (!one || !other) return null;
          return (
            <Text key={`${first} ${second}`} size="sm">
              <Anchor component={Link} to={`/episodes/${one.id}`}>
                {one.number}
              </Anchor>{" "}
              and{" "}
              <Anchor component={Link} to={`/episodes/${other.id}`}>
                {other.number}
              </Anchor>
              , {distance < 0.0005 ? "equal" : `${distance.toFixed(3)} standard deviations apart`}
            </Text>
          );
        })}
      </Stack>
    </Section>
  );
}
