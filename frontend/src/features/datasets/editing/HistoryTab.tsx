import { Badge, Group, Stack, Text } from "@mantine/core";
import { IconHistory } from "@tabler/icons-react";

import classes from "@/features/datasets/datasets.module.css";
import type { Dataset } from "@/features/datasets/core/hooks";
import { useChanges, useUndo } from "@/features/labels/core/hooks";
import { JobActions } from "@/features/jobs/core/JobActions";
import { confirm, notifyDone } from "@/ui/confirm";
import { ConfirmButton } from "@/ui/ConfirmButton";
import { EmptyState } from "@/ui/EmptyState";
import { ErrorNote } from "@/ui/ErrorNote";
import { plural } from "@/ui/format";
import { JobProgress } from "@/ui/JobProgress";
import { Loaded } from "@/ui/Loaded";
import { RoleButton } from "@/ui/RoleButton";
import { Time } from "@/ui/Time";

import { useEdits, useUndoEdit, type Change, type Edit } from "./edits";
import { editText, stayedText } from "./words";

/** What was edited in this dataset, newest first, each with its undo. */
export function HistoryTab({ dataset }: { dataset: Dataset }) {
  const query = useEdits(dataset.id);
  const changes = useChanges(dataset.id);
  return (
    <Loaded query={query} lines={4}>
      {(edits) => {
        const rows = [
          ...edits.map((edit) => ({
            at: edit.created_at,
            row: <EditRow key={edit.id} dataset={dataset} edit={edit} />,
          })),
          ...(changes.data ?? [])
            .filter(({ kind }) => kind === "facts")
            .map((change) => ({
              at: change.created_at,
              row: <ChangeRow key={change.id} dataset={dataset} change={change} />,
            })),
        ].sort((a, b) => b.at.localeCompare(a.at));
        if (rows.length === 0)
          return (
            <EmptyState icon={IconHistory} title="Nothing was edited yet">
              Select episodes in the tab Episodes to trim, cut, split, join, move or copy them. What is edited or
              deleted can be brought back here.
            </EmptyState>
          );
        return (
          <Stack gap="xs" data-testid="edit-history">
            {rows.map(({ row }) => row)}
          </Stack>
        );
      }}
    </Loaded>
  );
}

function EditRow({ dataset, edit }: { dataset: Dataset; edit: Edit }) {
  const undo = useUndoEdit(dataset.id);
  const here = edit.dataset_id === dataset.id;
  const state = edit.undone_at !== null ? "undone" : edit.finished_at !== null ? "done" : (edit.job?.state ?? "gone");
  return (
    <div className={classes.export} data-testid="edit-row" data-action={edit.action} data-state={state}>
      <Group justify="space-between" wrap="nowrap" align="flex-start" gap="sm">
        <div style={{ minWidth: 0 }}>
          <Text size="sm" fw={500} td={state === "undone" ? "line-through" : undefined}>
            {editText(edit)}
            {!here && ", from another dataset"}
          </Text>
          <Text size="xs" c="dimmed" component="div">
            <Time value={edit.created_at} />
            {edit.by_name && ` by ${edit.by_name}`}
            {edit.undone_at !== null && (
              <>
                ; undone <Time value={edit.undone_at} /> by {edit.undone_by_name}
              </>
            )}
            {edit.undo_until !== null && (
              <>
                ; its undo ends <Time value={edit.undo_until} />
              </>
            )}
          </Text>
          {edit.why_not !== null && (
            <Text size="xs" c="dimmed">
              {edit.why_not}
            </Text>
          )}
        </div>
        {edit.undo_until !== null && (
          <RoleButton
            needs="operator"
            size="xs"
            variant="light"
            loading={undo.isPending}
            data-testid="edit-undo"
            onClick={() =>
              confirm({
                title: "Undo this edit?",
                children: undoText(edit),
                confirm: "Undo it",
                action: () => undo.mutateAsync(edit.id),
              })
            }
          >
            Undo
          </RoleButton>
        )}
        {state === "undone" && <Badge variant="light">undone</Badge>}
      </Group>
      {edit.finished_at === null && edit.job !== null && (
        <JobProgress job={edit.job} actions={<JobActions job={edit.job} />} />
      )}
    </div>
  );
}

function undoText({ action, sources, results }: Edit): string {
  const back = `${plural(sources.length, "episode")} ${sources.length === 1 ? "comes" : "come"} back with ${sources.length === 1 ? "its" : "their"} labels`;
  const gone = `${plural(results.length, "episode")} that ${results.length === 1 ? "was" : "were"} made of ${sources.length === 1 ? "it" : "them"} ${results.length === 1 ? "is" : "are"} removed`;
  if (action === "delete") return `${back}.`;
  if (action === "copy") return `${gone[0]?.toUpperCase()}${gone.slice(1)}.`;
  return `${back}, and ${gone}. If somebody labelled those since, or a version lists them, nothing happens and you are told.`;
}

function ChangeRow({ dataset, change }: { dataset: Dataset; change: Change }) {
  const undo = useUndo(dataset.id);
  const { instruction, success } = change.parameters as { instruction?: string; success?: boolean | null };
  const said = [
    instruction !== undefined && `instruction “${instruction}”`,
    success !== undefined && `outcome ${success === null ? "not said" : success ? "success" : "failure"}`,
  ]
    .filter(Boolean)
    .join(", ");
  return (
    <div
      className={classes.export}
      data-testid="edit-row"
      data-action="facts"
      data-state={change.undone_at === null ? "done" : "undone"}
    >
      <Group justify="space-between" wrap="nowrap" align="flex-start" gap="sm">
        <div style={{ minWidth: 0 }}>
          <Text size="sm" fw={500} td={change.undone_at === null ? undefined : "line-through"}>
            {plural(change.episodes, "episode")}: {said}
          </Text>
          <Text size="xs" c="dimmed" component="div">
            <Time value={change.created_at} />
            {change.by_name && ` by ${change.by_name}`}
            {change.undone_at !== null && (
              <>
                ; undone <Time value={change.undone_at} /> by {change.undone_by_name}
              </>
            )}
          </Text>
          {undo.data && undo.data.skipped.length > 0 && (
            <Text size="xs" c="dimmed" role="status" style={{ overflowWrap: "anywhere" }}>
              {stayedText(undo.data.skipped, 50)}
            </Text>
          )}
        </div>
        {change.undone_at === null && (
          <ConfirmButton
            needs="operator"
            size="xs"
            variant="light"
            loading={undo.isPending}
            question="Undo this change?"
            explanation={`${plural(change.episodes, "episode")} ${change.episodes === 1 ? "gets" : "get"} back what ${change.episodes === 1 ? "it" : "they"} had before, published labels as a new revision. What somebody changed since stays as it is, and you are told.`}
            confirmLabel="Undo it"
            danger={false}
            action={async () => {
              const { changed, skipped } = await undo.mutateAsync(change.id);
              notifyDone(
                [`Undone in ${plural(changed, "episode")}.`, stayedText(skipped, 3)].filter(Boolean).join(" "),
              );
            }}
            data-testid="edit-undo"
          >
            Undo
          </ConfirmButton>
        )}
      </Group>
      <ErrorNote error={undo.error} />
    </div>
  );
}
