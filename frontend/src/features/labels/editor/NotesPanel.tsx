import { ActionIcon, Anchor, Button, Group, Stack, Text, Textarea, Tooltip } from "@mantine/core";
import { IconCheck, IconMessagePlus, IconRotate, IconTrash } from "@tabler/icons-react";
import { useState } from "react";

import { useCan, useMe } from "@/api/queries";
import type { DraftOut } from "./api";
import classes from "./annotate.module.css";
import { useAnnotator, usePlayer } from "./context";
import { segmentAt, segmentOf } from "@/features/labels/core/timeline";
import { ErrorNote } from "@/ui/ErrorNote";
import { focusOn } from "@/ui/focus";
import { Time } from "@/ui/Time";

import { useAddNote, useDeleteNote, useResolveNote, type Note } from "./judging";

interface Props {
  draft: DraftOut;
  /** this person is to review: the panel is there from the beginning */
  asked: boolean;
  writing: boolean;
  setWriting: (writing: boolean) => void;
}

/** What people say about single substeps; nothing while nobody said anything and nobody is about to. */
export function NotesPanel({ draft, asked, writing, setWriting }: Props) {
  const may = useCan("annotator");
  if (draft.notes.length === 0 && !writing && !asked) return null;
  const open = draft.notes.filter(({ resolved_at }) => resolved_at === null);
  const resolved = draft.notes.filter(({ resolved_at }) => resolved_at !== null);
  return (
    <section className={classes.panel} style={{ flex: "0 1 auto", maxHeight: "40%" }} aria-label="Comments">
      <div className={classes.panelHead}>
        <Text size="sm" fw={600}>
          Comments
        </Text>
        <Group gap={6}>
          <Text size="xs" c="dimmed">
            {open.length} open
          </Text>
          <Tooltip label="Comment on the substep under the playhead (Q)">
            <ActionIcon
              size="sm"
              variant="subtle"
              disabled={!may}
              onClick={() => setWriting(true)}
              aria-label="Comment on the substep under the playhead"
              data-testid="note-new"
            >
              <IconMessagePlus size={16} />
            </ActionIcon>
          </Tooltip>
        </Group>
      </div>
      <div className={classes.scroll} data-testid="notes" data-open={open.length}>
        {writing && <Write draft={draft} done={() => setWriting(false)} />}
        {[...open.sort(byStep), ...resolved.sort(byStep)].map((note) => (
          <Row key={note.id} note={note} />
        ))}
        {draft.notes.length === 0 && !writing && (
          <Text size="xs" c="dimmed" p="xs">
            Q comments on the substep under the playhead.
          </Text>
        )}
      </div>
    </section>
  );
}

function byStep(one: Note, other: Note): number {
  return one.start - other.start;
}

/** About the substep under the playhead. Ctrl+Enter keeps it, Escape does not. */
function Write({ draft, done }: { draft: DraftOut; done: () => void }) {
  const { episode, about, editor } = useAnnotator();
  const step = usePlayer((state) => state.step);
  const add = useAddNote(episode.id, about);
  const [text, setText] = useState("");
  const [{ start, end, text: label }] = useState(() => segmentOf(editor.timeline, segmentAt(editor.timeline, step)));
  const keep = () => add.mutate({ edit: draft.edit, start, end, text }, { onSuccess: done });
  return (
    <Stack gap={4} p="xs">
      <Textarea
        size="xs"
        autosize
        minRows={2}
        maxRows={6}
        ref={focusOn}
        maxLength={2000}
        label={`Steps ${start} to ${end - 1}${label && `: ${label}`}`}
        value={text}
        onChange={(event) => setText(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === "Escape") done();
          if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && text.trim() !== "") keep();
        }}
        data-testid="note-text"
      />
      <Group gap="xs" justify="flex-end">
        <Button size="compact-xs" variant="default" onClick={done}>
          Cancel
        </Button>
        <Button
          size="compact-xs"
          disabled={text.trim() === ""}
          loading={add.isPending}
          onClick={keep}
          data-testid="note-keep"
        >
          Comment
        </Button>
      </Group>
      <ErrorNote error={add.error} />
    </Stack>
  );
}

function Row({ note }: { note: Note }) {
  const { playback } = useAnnotator();
  const me = useMe();
  const annotator = useCan("annotator");
  const operator = useCan("operator");
  const resolve = useResolveNote();
  const remove = useDeleteNote();
  const done = note.resolved_at !== null;
  const look = () => {
    playback.player.pause();
    playback.player.seek(note.start);
  };
  return (
    <div className={classes.row} data-testid="note" data-resolved={done || undefined}>
      <span />
      <div style={{ minWidth: 0 }}>
        <Anchor component="button" type="button" size="xs" onClick={look} data-testid="note-go">
          Steps {note.start} to {note.end - 1}
        </Anchor>
        <Text
          size="sm"
          td={done ? "line-through" : undefined}
          style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}
        >
          {note.text}
        </Text>
        <Text size="xs" c="dimmed" component="div">
          {note.author_name ?? "Somebody"}, <Time value={note.created_at} />
          {done && note.resolved_by_name && `; resolved by ${note.resolved_by_name}`}
        </Text>
        <ErrorNote error={resolve.error ?? remove.error} />
      </div>
      {annotator && (
        <Group gap={2} wrap="nowrap">
          <Tooltip label={done ? "Reopen the comment" : "Resolve the comment"}>
            <ActionIcon
              size="sm"
              variant="subtle"
              loading={resolve.isPending}
              onClick={() => resolve.mutate({ id: note.id, resolved: !done })}
              aria-label={done ? "Reopen the comment" : "Resolve the comment"}
              data-testid="note-resolve"
            >
              {done ? <IconRotate size={16} /> : <IconCheck size={16} />}
            </ActionIcon>
          </Tooltip>
          {(operator || note.author_id === me?.id) && (
            <Tooltip label="Delete the comment">
              <ActionIcon
                size="sm"
                variant="subtle"
                color="gray"
                loading={remove.isPending}
                onClick={() => remove.mutate(note.id)}
                aria-label="Delete the comment"
                data-testid="note-delete"
              >
                <IconTrash size={16} />
              </ActionIcon>
            </Tooltip>
          )}
        </Group>
      )}
    </div>
  );
}
