import { Anchor, Group, SimpleGrid, Stack, Text } from "@mantine/core";
import { IconChartBar } from "@tabler/icons-react";
import { Link } from "react-router";

import { DEFAULT_FPS } from "@/features/labels/core/fps";
import { EmptyState } from "@/ui/EmptyState";
import { formatCount, formatPercent, plural } from "@/ui/format";
import { Loaded } from "@/ui/Loaded";
import { Section } from "@/ui/Section";

import { Bars, Share } from "./Bars";
import { Days } from "./Days";
import { findAddress } from "./filters";
import {
  useCoverage,
  useLabelling,
  type Coverage,
  type FindingCode,
  type Labelling,
} from "@/features/labels/core/hooks";
import { useLabelledDataset } from "@/features/labels/core/dataset";
import { TextCounts } from "./TextCounts";
import { FINDINGS, PROVENANCES } from "@/features/labels/core/words";
import { WORK_STATES } from "@/features/labels/core/WorkBadge";

/** How far the labels of the dataset are, and what stands out in them. */
export function CoveragePage() {
  const dataset = useLabelledDataset();
  const query = useCoverage(dataset.id);
  const labelling = useLabelling(dataset.id).data;
  if (dataset.episodes === 0)
    return (
      <EmptyState icon={IconChartBar} title="Nothing to count yet">
        Record or upload episodes first.
      </EmptyState>
    );
  return (
    <Loaded query={query} lines={8}>
      {(coverage) => (
        <Stack data-testid="coverage">
          {coverage.tiers.map((tier) => (
            <Tier key={tier.tier} tier={tier} only={coverage.tiers.length === 1} />
          ))}
          <SimpleGrid cols={{ base: 1, md: 2, xl: 3 }}>
            <Warnings datasetId={dataset.id} coverage={coverage} labelling={labelling} />
            <Section title="Where texts came from">
              <Bars
                label="Substeps by where their text came from"
                rows={Object.entries(PROVENANCES).map(([key, label]) => ({
                  key,
                  label,
                  count: coverage.provenance[key] ?? 0,
                }))}
              />
            </Section>
            <Episodes coverage={coverage} />
            <Doubles coverage={coverage} labelling={labelling} />
            <Section title="Last 30 days with work">
              <Days days={coverage.days} />
            </Section>
          </SimpleGrid>
          <Section
            title="Texts"
            description="How often and how long each is, drafts as they are now. A text opens its hits."
          >
            <TextCounts datasetId={dataset.id} labels={coverage.labels} fps={dataset.fps ?? DEFAULT_FPS} />
          </Section>
        </Stack>
      )}
    </Loaded>
  );
}

function Tier({ tier, only }: { tier: Coverage["tiers"][number]; only: boolean }) {
  const { episodes, steps, by_state, published_episodes, published_steps, labelled_steps, segments } = tier;
  const states = Object.entries(WORK_STATES).map(([key, { label, color }]) => ({
    key,
    label,
    color,
    count: by_state[key] ?? 0,
  }));
  return (
    <Section
      title={only ? "Progress" : tier.tier === "plan" ? "Plan" : "Substeps"}
      data-testid={`coverage-${tier.tier}`}
    >
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="xl">
        <Stack gap="sm">
          <Share
            label="Steps with a text"
            share={steps > 0 ? labelled_steps / steps : 0}
            text={`${formatCount(labelled_steps)} of ${plural(steps, "step")}, ${plural(segments, "substep")}`}
            testid="share-labelled"
          />
          <Share
            label="Steps published"
            share={steps > 0 ? published_steps / steps : 0}
            text={`${formatCount(published_steps)} of ${plural(steps, "step")}`}
            testid="share-published"
          />
          <Share
            label="Episodes published"
            share={episodes > 0 ? published_episodes / episodes : 0}
            text={`${formatCount(published_episodes)} of ${plural(episodes, "episode")}`}
            testid="share-episodes"
          />
        </Stack>
        <div>
          <Text size="sm" fw={600} mb={4}>
            Episodes by state
          </Text>
          <Bars label="Episodes by state" rows={states} testid="state-count" />
        </div>
      </SimpleGrid>
    </Section>
  );
}

function Warnings({
  datasetId,
  coverage,
  labelling,
}: {
  datasetId: string;
  coverage: Coverage;
  labelling: Labelling | undefined;
}) {
  const rows = (Object.keys(FINDINGS) as FindingCode[])
    .map((code) => ({ code, count: coverage.findings[code] ?? 0 }))
    .filter(({ count }) => count > 0)
    .sort((a, b) => b.count - a.count);
  return (
    <Section
      title="Warnings"
      description={
        labelling &&
        `Short is under ${labelling.short_seconds} s, long over ${labelling.long_seconds} s. Each opens its hits.`
      }
    >
      {rows.length === 0 ? (
        <Text size="sm" c="dimmed">
          None.
        </Text>
      ) : (
        <Bars
          label="Warnings"
          testid="finding-count"
          rows={rows.map(({ code, count }) => ({
            key: code,
            label: (
              <Anchor component={Link} to={findAddress(datasetId, { warning: code })} size="sm">
                {FINDINGS[code].label}
              </Anchor>
            ),
            count,
          }))}
        />
      )}
    </Section>
  );
}

function Episodes({ coverage: { success, quality, tags } }: { coverage: Coverage }) {
  const words: [string, Record<string, number>, string][] = [
    ["success", success, "yes"],
    ["failure", success, "no"],
    ["outcome unknown", success, "unknown"],
    ["good", quality, "good"],
    ["doubtful", quality, "doubtful"],
    ["unusable", quality, "unusable"],
  ];
  const named = Object.entries(tags).sort(([, a], [, b]) => b - a);
  return (
    <Section title="Episodes">
      <Bars
        label="Episodes by outcome, quality and tag"
        rows={[
          ...words.map(([label, from, key]) => ({ key: label, label, count: from[key] ?? 0 })),
          ...named.slice(0, 12).map(([tag, count]) => ({ key: `tag ${tag}`, label: `# ${tag}`, count })),
        ].filter(({ count }) => count > 0)}
      />
    </Section>
  );
}

function Doubles({ coverage, labelling }: { coverage: Coverage; labelling: Labelling | undefined }) {
  const { wanted, assigned, submitted } = coverage.double;
  return (
    <Section
      title="Labelled twice"
      description={labelling && `${formatPercent(labelling.double_percent / 100)} of the episodes are to be, blind.`}
    >
      <Group gap="xl">
        {(
          [
            ["wanted", wanted],
            ["assigned", assigned],
            ["submitted", submitted],
          ] as const
        ).map(([label, count]) => (
          <div key={label}>
            <Text size="xl" fw={600}>
              {formatCount(count)}
            </Text>
            <Text size="xs" c="dimmed">
              {label}
            </Text>
          </div>
        ))}
      </Group>
    </Section>
  );
}
