import { Button, Group, Popover, ScrollArea, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { Loaded } from "@/ui/Loaded";
import { plural } from "@/ui/format";
import { Time } from "@/ui/Time";

import { getRevisions, type Revision } from "./api";
import { useAnnotator } from "./context";
import { contentOf } from "./editor";

/** What was published when and by whom; a revision can be taken as the draft again. */
export function Revisions({ published }: { published: Revision | null }) {
  const [opened, setOpened] = useState(false);
  return (
    <Popover trapFocus opened={opened} onChange={setOpened} position="bottom-end" width={380} withArrow>
      <Popover.Target>
        <Button
          size="xs"
          variant="subtle"
          color="gray"
          disabled={published === null}
          onClick={() => setOpened(!opened)}
          data-testid="revisions-open"
        >
          {published === null ? "No revision" : `Revision ${published.number}`}
        </Button>
      </Popover.Target>
      <Popover.Dropdown p="xs">{opened && <List onDone={() => setOpened(false)} />}</Popover.Dropdown>
    </Popover>
  );
}

function List({ onDone }: { onDone: () => void }) {
  const { episode, about, editor } = useAnnotator();
  const query = useQuery({
    queryKey: ["episode", "revisions", episode.id, about.tier],
    queryFn: () => getRevisions(episode.id, about),
  });
  return (
    <Loaded query={query}>
      {(revisions) => (
        <ScrollArea.Autosize mah={320}>
          <Stack gap="xs">
            {revisions.map((revision) => (
              <Group key={revision.id} justify="space-between" wrap="nowrap" data-testid="revision-row">
                <div>
                  <Text size="sm" fw={600}>
                    Revision {revision.number}, {plural(revision.segments.length, "substep")}
                  </Text>
                  <Text size="xs" c="dimmed" component="div">
                    <Time value={revision.created_at} />
                    {revision.published_by_name && ` by ${revision.published_by_name}`}
                  </Text>
                </div>
                <Button
                  size="compact-xs"
                  variant="default"
                  disabled={editor.readOnly}
                  onClick={() => {
                    editor.change(() => contentOf(episode.steps, revision));
                    onDone();
                  }}
                >
                  Take as draft
                </Button>
              </Group>
            ))}
          </Stack>
        </ScrollArea.Autosize>
      )}
    </Loaded>
  );
}
