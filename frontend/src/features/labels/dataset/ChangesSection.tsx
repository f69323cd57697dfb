import { Badge, Group, Stack, Text } from "@mantine/core";

import { ConfirmButton } from "@/ui/ConfirmButton";
import { ErrorNote } from "@/ui/ErrorNote";
import { plural } from "@/ui/format";
import { Loaded } from "@/ui/Loaded";
import { notifyDone } from "@/ui/confirm";
import { Section } from "@/ui/Section";
import { Time } from "@/ui/Time";

import { useChanges, useUndo } from "@/features/labels/core/hooks";
import classes from "@/features/labels/core/labelling.module.css";
import { Skipped } from "./Skipped";
import { changeText } from "@/features/labels/core/words";

/** Bulk edits, newest first; each can be undone. */
export function ChangesSection({ datasetId }: { datasetId: string }) {
  const query = useChanges(datasetId);
  const undo = useUndo(datasetId);
  return (
    <Section
      title="Past bulk edits"
      description="Undoing restores what was there before; episodes that were edited since stay as they are and are listed."
    >
      <Loaded query={query}>
        {(changes) => (
          <Stack gap="xs">
            <ErrorNote error={undo.error} />
            {undo.data && <Skipped skipped={undo.data.skipped} />}
            {changes.length === 0 && (
              <Text size="sm" c="dimmed">
                Nothing yet.
              </Text>
            )}
            {changes.map((change) => (
              <Group
                key={change.id}
                justify="space-between"
                wrap="nowrap"
                className={classes.line}
                data-testid="change-row"
                data-kind={change.kind}
                data-undone={change.undone_at !== null || undefined}
              >
                <div style={{ minWidth: 0 }}>
                  <Text size="sm" style={{ overflowWrap: "anywhere" }}>
                    {changeText(change)}
                  </Text>
                  <Text size="xs" c="dimmed" component="div">
                    <Time value={change.created_at} />
                    {change.by_name && ` by ${change.by_name}`}
                  </Text>
                </div>
                {change.undone_at === null ? (
                  <ConfirmButton
                    needs="operator"
                    size="xs"
                    variant="default"
                    loading={undo.isPending && undo.variables === change.id}
                    question="Undo this change?"
                    explanation={`${changeText(change)}. Each of them gets back what it had before, as a new edit; published labels as a new revision.`}
                    confirmLabel="Undo it"
                    danger={false}
                    action={async () => {
                      const { changed } = await undo.mutateAsync(change.id);
                      notifyDone(`Undone in ${plural(changed, "episode")}.`);
                    }}
                    data-testid="change-undo"
                  >
                    Undo
                  </ConfirmButton>
                ) : (
                  <Badge color="gray">undone{change.undone_by_name && ` by ${change.undone_by_name}`}</Badge>
                )}
              </Group>
            ))}
          </Stack>
        )}
      </Loaded>
    </Section>
  );
}
