import { Anchor, Group, Text } from "@mantine/core";
import { useState } from "react";
import { Link } from "react-router";

import { formatCount, plural } from "@/ui/format";
import { Section } from "@/ui/Section";

import { bins } from "./bins";
import classes from "./survey.module.css";
import type { SurveyedEpisode } from "./hooks";

const SHOWN = 60;

/** How long episodes are. A bar shows the episodes that are in it. */
export function Lengths({ episodes }: { episodes: readonly SurveyedEpisode[] }) {
  const found = bins(episodes.map(({ steps }) => steps));
  const most = Math.max(1, ...found.map(({ members }) => members.length));
  const [open, setOpen] = useState<number | null>(null);
  const chosen = open === null ? undefined : found[open];
  return (
    <Section title="Lengths" description="Steps of an episode. Choose a bar to see its episodes.">
      <div className={classes.columns} data-testid="survey-lengths">
        {found.map(({ from, to, members }, at) => (
          <button
            key={from}
            type="button"
            aria-pressed={open === at}
            aria-label={`${plural(members.length, "episode")} of ${range(from, to)} steps`}
            title={`${plural(members.length, "episode")} of ${range(from, to)} steps`}
            disabled={members.length === 0}
            onClick={() => setOpen(open === at ? null : at)}
          >
            <span style={{ height: `${(100 * members.length) / most}%` }} data-count={members.length} />
          </button>
        ))}
      </div>
      <Group justify="space-between">
        <Text size="xs" c="dimmed">
          {formatCount(found[0]?.from ?? 0)} steps
        </Text>
        <Text size="xs" c="dimmed">
          {formatCount(found.at(-1)?.to ?? 0)} steps
        </Text>
      </Group>
      {chosen && (
        <Group gap="xs" mt="sm" data-testid="survey-length-episodes">
          {chosen.members.slice(0, SHOWN).map((at) => {
            const episode = episodes[at];
            if (!episode) return null;
            return (
              <Anchor key={episode.id} component={Link} to={`/episodes/${episode.id}`} size="sm">
                {episode.number}
              </Anchor>
            );
          })}
          {chosen.members.length > SHOWN && (
            <Text size="sm" c="dimmed">
              and {formatCount(chosen.members.length - SHOWN)} more
            </Text>
          )}
        </Group>
      )}
    </Section>
  );
}

function range(from: number, to: number): string {
  const [low, high] = [Math.ceil(from), Math.floor(to)];
  return low >= high ? formatCount(Math.round(from)) : `${formatCount(low)} to ${formatCount(high)}`;
}
