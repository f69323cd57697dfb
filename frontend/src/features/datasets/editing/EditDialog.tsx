import { Button, Group, Modal, Select, Stack, Text } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useEffect, useRef, useState, type ReactNode } from "react";

import type { Dataset } from "@/features/datasets/core/hooks";
import { JobActions } from "@/features/jobs/core/JobActions";
import { ErrorNote } from "@/ui/ErrorNote";
import { plural } from "@/ui/format";
import { JobProgress } from "@/ui/JobProgress";
import { RoleButton } from "@/ui/RoleButton";

import { EditFields } from "./EditFields";
import { EditPreviewTable } from "./EditPreviewTable";
import {
  useChangeFacts,
  useCreateEdit,
  useEdits,
  useFactsPreview,
  usePreview,
  type Facts,
  type Preview,
} from "./edits";
import { ACTIONS, bodyOf, editText, previewText, stayedText, type Action, type Fields } from "./words";

const SETTLED_MS = 300;

interface Props {
  opened: boolean;
  onClose: () => void;
  dataset: Dataset;
  /** null: all of the dataset */
  ids: string[] | null;
  action?: Action;
  /** what is filled in already: of the playhead of an episode's own page */
  given?: Partial<Fields>;
  /** after an edit was done: the episodes are others then */
  onDone?: () => void;
}

/** New episodes made of the chosen ones: what will be made is shown before it is. */
export function EditDialog({ opened, onClose, dataset, ids, action, given, onDone }: Props) {
  const count = ids === null ? dataset.episodes : ids.length;
  return (
    <Modal
      opened={opened}
      onClose={onClose}
      title={ids === null ? `Edit all of "${dataset.name}"` : `Edit ${plural(count, "episode")}`}
      size="xl"
    >
      {opened && (
        <Form
          dataset={dataset}
          ids={ids}
          count={count}
          initial={action ?? "trim_idle"}
          given={given}
          onClose={onClose}
          onDone={onDone}
        />
      )}
    </Modal>
  );
}

interface FormProps {
  dataset: Dataset;
  ids: string[] | null;
  count: number;
  initial: Action;
  given: Partial<Fields> | undefined;
  onClose: () => void;
  onDone: (() => void) | undefined;
}

function Form({ dataset, ids, count, initial, given, onClose, onDone }: FormProps) {
  const [action, setAction] = useState(initial);
  const [leftOut, setLeftOut] = useState<ReadonlySet<string>>(new Set());
  const [begun, setBegun] = useState<string | null>(null);
  const [fields, setFields] = useState<Fields>({
    first: "",
    last: "",
    at: "",
    drop: {},
    cameras: {},
    dimensions: "",
    target: null,
    name: "",
    instruction: "",
    outcome: null,
    ...given,
  });
  // what was found stays while something else is typed: it is in the table that one types
  const [last, setLast] = useState<{ action: Action; preview: Preview }>();
  // once it has begun its episodes go, and are not asked about any more
  const [settled] = useDebouncedValue(fields, SETTLED_MS);
  const settling = fields !== settled;
  const preview = usePreview(dataset.id, begun === null ? bodyOf(action, ids, settled) : null);
  const facts = factsOf(action, ids, settled);
  const counted = useFactsPreview(dataset.id, facts);
  const create = useCreateEdit(dataset.id);
  const change = useChangeFacts(dataset.id);
  const found = preview.isPlaceholderData || bodyOf(action, ids, fields) === null ? undefined : preview.data;
  if (found && (found !== last?.preview || action !== last.action)) setLast({ action, preview: found });
  const listed = found ?? (last?.action === action ? last.preview : undefined);
  const items = found?.items.filter(({ sources }) => !leftOut.has(sources[0]?.episode_id ?? "")) ?? [];
  const problems = items.filter(({ problem }) => problem !== null).length;
  const chosen = ACTIONS.find(({ value }) => value === action);
  const mayLeaveOut = action !== "join" && action !== "rename";
  const leaveOut = (ids: readonly string[], out: boolean) =>
    setLeftOut((old) => {
      const now = new Set(old);
      for (const id of ids)
        if (out) now.add(id);
        else now.delete(id);
      return now;
    });
  // only what was shown is done
  const reason = because({
    asked: action === "facts" ? factsOf(action, ids, fields) !== null : bodyOf(action, ids, fields) !== null,
    failed: !settling && (facts !== null ? counted.error : preview.error) !== null,
    count: settling ? undefined : facts !== null ? counted.data?.changed : found && items.length,
    problems,
    mayLeaveOut,
  });

  if (begun !== null) return <Begun datasetId={dataset.id} editId={begun} onClose={onClose} />;
  if (change.data)
    return (
      <Done onClose={onClose}>
        <Text size="sm" data-testid="edit-done" data-changed={change.data.changed}>
          {plural(change.data.changed, "episode")} changed. {stayedText(change.data.skipped, 50)} The tab History undoes
          it.
        </Text>
      </Done>
    );

  const start = () => {
    if (reason !== null) return;
    if (facts !== null) {
      change.mutate(facts, { onSuccess: onDone });
      return;
    }
    const going = leftOut.size === 0 && ids === null ? null : sourcesOf(found?.items ?? [], leftOut);
    const body = bodyOf(action, going, fields);
    if (body !== null)
      create.mutate(body, {
        onSuccess: ({ id }) => {
          setBegun(id);
          onDone?.();
        },
      });
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        start();
      }}
      data-testid="edit-form"
    >
      <Stack>
        <Select
          label="What to do"
          description={chosen?.help}
          allowDeselect={false}
          value={action}
          onChange={(value) => {
            setAction(value ?? "trim_idle");
            setLeftOut(new Set());
            setFields((old) => ({ ...old, drop: {} }));
          }}
          data={ACTIONS.filter(({ least }) => least <= count).map(({ value, label }) => ({ value, label }))}
          data-testid="edit-action"
        />
        <EditFields
          action={action}
          dataset={dataset}
          fields={fields}
          onChange={(some) => setFields((old) => ({ ...old, ...some }))}
        />
        {listed && (
          <EditPreviewTable
            items={listed.items}
            typed={action === "trim_idle" || action === "drop_idle" ? fields.drop : undefined}
            onType={(id, text) => setFields((old) => ({ ...old, drop: { ...old.drop, [id]: text } }))}
            parts={action === "split"}
            leftOut={leftOut}
            onLeaveOut={mayLeaveOut ? leaveOut : undefined}
          />
        )}
        <ErrorNote error={preview.error ?? counted.error ?? create.error ?? change.error} />
        <Group justify="space-between" gap="sm">
          <Text
            size="sm"
            aria-live="polite"
            mih={22}
            data-testid="edit-count"
            data-items={found?.items.length ?? counted.data?.changed}
          >
            {facts !== null
              ? counted.data && `${plural(counted.data.changed, "episode")} would change.`
              : found && previewText(found)}
          </Text>
          <RoleButton
            needs="operator"
            type="submit"
            loading={create.isPending || change.isPending}
            because={reason}
            data-testid="edit-start"
          >
            {chosen?.label}
          </RoleButton>
        </Group>
        {action !== "copy" && action !== "facts" && (
          <Text size="xs" c="dimmed">
            The new episodes take the place of these. For some days the tab History brings these back; then their files
            are removed, unless a version lists them.
          </Text>
        )}
      </Stack>
    </form>
  );
}

/** Why it cannot begin; null where it can. */
function because({
  asked,
  failed,
  count,
  problems,
  mayLeaveOut,
}: {
  asked: boolean;
  failed: boolean;
  /** how many episodes; undefined while it is not known */
  count: number | undefined;
  problems: number;
  mayLeaveOut: boolean;
}): string | null {
  if (!asked) return "Say first what to do.";
  if (count === undefined) return failed ? "The note above says why not." : "Being worked out.";
  if (count === 0) return "Nothing would change.";
  if (problems === 0) return null;
  if (!mayLeaveOut) return "The table says what is wrong.";
  return problems === 1 ? "One of them cannot be made; leave it out." : "Some cannot be made; leave them out.";
}

function sourcesOf(items: { sources: { episode_id: string }[] }[], leftOut: ReadonlySet<string>): string[] {
  const ids = items.flatMap(({ sources }) => sources.map(({ episode_id }) => episode_id));
  return [...new Set(ids)].filter((id) => !leftOut.has(id));
}

function factsOf(action: Action, ids: string[] | null, { instruction, outcome }: Fields): Facts | null {
  const text = instruction.trim();
  if (action !== "facts" || (text === "" && outcome === null)) return null;
  return { episode_ids: ids, instruction: text === "" ? null : text, outcome, preview: false };
}

/** The job of an edit that was asked for, and what it made. */
function Begun({ datasetId, editId, onClose }: { datasetId: string; editId: string; onClose: () => void }) {
  const { data } = useEdits(datasetId);
  const edit = data?.find(({ id }) => id === editId);
  return (
    <Done onClose={onClose} yet={edit?.finished_at != null}>
      {edit?.finished_at != null ? (
        <Text size="sm" data-testid="edit-done">
          {editText(edit)}. The tab History undoes it.
        </Text>
      ) : (
        edit?.job && <JobProgress job={edit.job} actions={<JobActions job={edit.job} />} />
      )}
    </Done>
  );
}

/** What was done, said aloud, with the focus on what closes it. `yet`: not before it is. */
function Done({ yet = true, onClose, children }: { yet?: boolean; onClose: () => void; children: ReactNode }) {
  const close = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (yet) close.current?.focus();
  }, [yet]);
  return (
    <Stack>
      {!yet && children}
      <div role="status">{yet && children}</div>
      <Group justify="flex-end">
        <Button ref={close} variant={yet ? "filled" : "default"} onClick={onClose} data-testid="edit-close">
          Close
        </Button>
      </Group>
    </Stack>
  );
}
