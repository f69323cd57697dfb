import { Button, Group, Popover, ScrollArea, Stack, Text } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { queryClient } from "@/api/queries";
import { notifyDone } from "@/ui/confirm";
import { ConfirmButton } from "@/ui/ConfirmButton";
import { Loaded } from "@/ui/Loaded";
import { plural } from "@/ui/format";
import { Time } from "@/ui/Time";

import { draftKey, getRevisions, rollBack, storedOf, type Revision } from "./api";
import { useAnnotator } from "./context";
import { contentOf } from "./editor";

/** What was published when and by whom; a revision can be taken as the draft again. */
export function Revisions({ published }: { published: Revision | null }) {
  const [opened, setOpened] = useState(false);
  return (
    <Popover trapFocus opened={opened} onChange={setOpened} position="bottom-end" width={440} withArrow>
      <Popover.Target>
        <Button
          size="xs"
          variant="subtle"
          color="gray"
          disabled={published === null}
          onClick={() => setOpened(!opened)}
          data-testid="revisions-open"
        >
          {published === null ? "Not published" : `Revision ${published.number}`}
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
  const back = async (revision: Revision) => {
    await editor.autosave.flush();
    if (editor.autosave.unsaved) throw new Error("The newest edits could not be saved yet; try again when they are.");
    const draft = await rollBack(episode.id, revision.id, editor.autosave.edit);
    editor.adopt(storedOf(draft));
    queryClient.setQueryData(draftKey(episode.id, about), draft);
    for (const topic of ["episode", "dataset"]) void queryClient.invalidateQueries({ queryKey: [topic] });
    notifyDone(`Revision ${draft.published?.number ?? ""} has the labels of revision ${revision.number} again.`);
  };
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
                    {revision.restores !== null && `, as revision ${revision.restores}`}
                  </Text>
                </div>
                {revision.number !== revisions[0]?.number && (
                  <ConfirmButton
                    needs="operator"
                    size="compact-xs"
                    variant="default"
                    question={`Roll back to revision ${revision.number}?`}
                    explanation="Its labels are published again as the newest revision, and become the draft. Everything else stays in the list."
                    confirmLabel="Roll back"
                    danger={false}
                    action={() => {
                      onDone();
                      return back(revision);
                    }}
                    data-testid="revision-roll-back"
                  >
                    Roll back
                  </ConfirmButton>
                )}
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
