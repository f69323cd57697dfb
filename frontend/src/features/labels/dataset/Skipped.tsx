import { Anchor, List, Text } from "@mantine/core";
import { Link } from "react-router";

import type { Schema } from "@/api/client";
import { plural } from "@/ui/format";

import { byReason } from "@/features/labels/core/words";

const SHOWN = 12;

/** Episodes that a change leaves as they are, by reason, each with a link. */
export function Skipped({ skipped }: { skipped: readonly Schema<"SkippedOut">[] }) {
  if (skipped.length === 0) return null;
  return (
    <div data-testid="skipped" data-count={skipped.length}>
      <Text size="sm" fw={600}>
        {plural(skipped.length, "episode stays", "episodes stay")} as {skipped.length === 1 ? "it is" : "they are"}
      </Text>
      <List size="sm">
        {byReason(skipped).map(([reason, each]) => (
          <List.Item key={reason}>
            {reason}:{" "}
            {each.slice(0, SHOWN).map(({ episode_id, number }, index) => (
              <span key={episode_id}>
                {index > 0 && ", "}
                <Anchor component={Link} to={`/episodes/${episode_id}`} size="sm">
                  {number}
                </Anchor>
              </span>
            ))}
            {each.length > SHOWN && ` and ${each.length - SHOWN} more`}
          </List.Item>
        ))}
      </List>
    </div>
  );
}
