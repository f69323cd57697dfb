import { Group, Text, Tooltip, VisuallyHidden } from "@mantine/core";

import { plural } from "@/ui/format";

import type { Coverage } from "@/features/labels/core/hooks";
import classes from "@/features/labels/core/labelling.module.css";

const COLOURS = { submitted: "var(--mantine-color-violet-6)", published: "var(--mantine-color-teal-6)" } as const;

/** What was submitted and published on each day, UTC. */
export function Days({ days }: { days: Coverage["days"] }) {
  if (days.length === 0)
    return (
      <Text size="sm" c="dimmed">
        Nothing was submitted yet.
      </Text>
    );
  const most = Math.max(1, ...days.flatMap(({ submitted, published }) => [submitted, published]));
  const height = (count: number) => `${(100 * count) / most}%`;
  return (
    <>
      <ul className={classes.days} data-testid="days">
        {days.map(({ day, submitted, published }) => {
          const said = `${day}: ${plural(submitted, "episode")} submitted, ${published} published`;
          return (
            <Tooltip key={day} label={said}>
              <li>
                <VisuallyHidden>{said}</VisuallyHidden>
                <span style={{ height: height(submitted), background: COLOURS.submitted }} />
                <span style={{ height: height(published), background: COLOURS.published }} />
              </li>
            </Tooltip>
          );
        })}
      </ul>
      <Group justify="space-between" gap="xs">
        <Text size="xs" c="dimmed">
          {days[0]?.day} to {days.at(-1)?.day}, at most {plural(most, "episode")} per day
        </Text>
        <Text size="xs">
          <span style={{ color: COLOURS.submitted }} aria-hidden>
            &#9632;
          </span>{" "}
          submitted{" "}
          <span style={{ color: COLOURS.published }} aria-hidden>
            &#9632;
          </span>{" "}
          published
        </Text>
      </Group>
    </>
  );
}
