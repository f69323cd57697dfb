import { Anchor, Group, Text } from "@mantine/core";
import { Link } from "react-router";

import type { Schema } from "@/api/client";

import { shares } from "./shares";

/** Dataset versions with their share, each a link. */
export function Sources({ sources }: { sources: readonly Schema<"SourceOut">[] }) {
  const parts = shares(sources.map(({ weight }) => weight));
  return (
    <>
      {sources.map((source, index) => (
        <Group key={source.version_id} gap={6} wrap="nowrap">
          <Anchor component={Link} to={`/datasets/${source.dataset_id}`} size="sm" c="inherit" truncate>
            {source.dataset_name}
          </Anchor>
          <Text span size="sm" c="dimmed" style={{ whiteSpace: "nowrap" }}>
            v{source.number}
            {sources.length > 1 && `, ${Math.round(100 * (parts[index] ?? 0))} %`}
          </Text>
        </Group>
      ))}
    </>
  );
}
