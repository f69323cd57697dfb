import { Text } from "@mantine/core";
import { Link } from "react-router";

import { formatNumber } from "@/ui/format";
import { Section } from "@/ui/Section";

import { scale } from "./bins";
import classes from "./survey.module.css";
import type { Found, SurveyedEpisode } from "./hooks";

const SIZE = 260;
const EDGE = 12;

/** Where episodes begin, in the two dimensions of the state that differ most there. A point is an episode. */
export function Starts({
  found,
  episodes,
  names,
}: {
  found: Found;
  episodes: readonly SurveyedEpisode[];
  names: readonly string[];
}) {
  const [across, up] = found.scatter;
  if (across === undefined || up === undefined) return null;
  const points = found.starts.map(([x = 0, y = 0]) => ({ x, y }));
  const place = (values: number[]) => {
    const { low, high, share } = scale(values);
    const text = low === high ? formatNumber(low, 3) : `${formatNumber(low, 3)} to ${formatNumber(high, 3)}`;
    return { text, at: (value: number) => EDGE + share(value) * (SIZE - 2 * EDGE) };
  };
  const [xs, ys] = [place(points.map(({ x }) => x)), place(points.map(({ y }) => y))];
  return (
    <Section title="Where they begin" description="First state of each episode. A point opens its episode.">
      <div className={classes.scatter}>
        <Text size="xs" c="dimmed">
          {names[up] ?? `dimension ${up}`}: {ys.text}
        </Text>
        <svg viewBox={`0 0 ${SIZE} ${SIZE}`} role="group" aria-label="First states" data-testid="survey-starts">
          <rect x={0.5} y={0.5} width={SIZE - 1} height={SIZE - 1} rx={4} />
          {points.map(({ x, y }, at) => {
            const episode = episodes[at];
            if (!episode) return null;
            return (
              <Link key={episode.id} to={`/episodes/${episode.id}`} aria-label={`Episode ${episode.number}`}>
                <circle cx={xs.at(x)} cy={SIZE - ys.at(y)} r={5} data-failed={episode.success === false || undefined}>
                  <title>{`Episode ${episode.number}`}</title>
                </circle>
              </Link>
            );
          })}
        </svg>
        <Text size="xs" c="dimmed" ta="right">
          {names[across] ?? `dimension ${across}`}: {xs.text}
        </Text>
      </div>
    </Section>
  );
}
