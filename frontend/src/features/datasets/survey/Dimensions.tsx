import { Anchor, Group, SegmentedControl, Text } from "@mantine/core";
import { useState } from "react";
import { Link } from "react-router";

import { formatNumber } from "@/ui/format";
import { Section } from "@/ui/Section";

import classes from "./survey.module.css";
import type { Found, SurveyedEpisode } from "./hooks";

/** What values each dimension takes. Its ends lead to the episodes that reach them. */
export function Dimensions({
  found,
  episodes,
  names,
}: {
  found: Found;
  episodes: readonly SurveyedEpisode[];
  names: readonly string[];
}) {
  const [which, setWhich] = useState<"state" | "action">("state");
  return (
    <Section
      title="Dimensions"
      description="Steps by value, in the robot's units. The ends open the episodes that reach them."
      actions={
        <SegmentedControl
          size="xs"
          value={which}
          onChange={(value) => setWhich(value)}
          data={[
            { value: "state", label: "State" },
            { value: "action", label: "Action" },
          ]}
        />
      }
    >
      <div className={classes.dimensions} data-testid="survey-dimensions">
        {found[which].map((dimension, at) => {
          const most = Math.max(1, ...dimension.counts);
          return (
            <figure key={at}>
              <figcaption>{names[at] ?? `dimension ${at}`}</figcaption>
              <svg viewBox={`0 0 ${dimension.counts.length} 20`} preserveAspectRatio="none" aria-hidden>
                {dimension.counts.map((count, bin) => (
                  <rect
                    key={bin}
                    x={bin + 0.08}
                    width={0.84}
                    y={20 - (20 * count) / most}
                    height={(20 * count) / most}
                  />
                ))}
              </svg>
              <Group justify="space-between" gap={4} wrap="nowrap">
                <End episode={episodes[dimension.lowest]} value={dimension.low} />
                <Text size="xs" c="dimmed" truncate>
                  {formatNumber(dimension.mean, 3)} ± {formatNumber(dimension.std, 2)}
                </Text>
                <End episode={episodes[dimension.highest]} value={dimension.high} />
              </Group>
            </figure>
          );
        })}
      </div>
    </Section>
  );
}

function End({ episode, value }: { episode: SurveyedEpisode | undefined; value: number }) {
  if (!episode) return <Text size="xs">{formatNumber(value, 3)}</Text>;
  return (
    <Anchor component={Link} to={`/episodes/${episode.id}`} size="xs" title={`Episode ${episode.number}`}>
      {formatNumber(value, 3)}
    </Anchor>
  );
}
