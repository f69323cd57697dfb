import { ActionIcon, Button, Group, Kbd, Stack, Text, Textarea, TextInput, Tooltip } from "@mantine/core";
import { IconArrowDown, IconArrowUp, IconTrash } from "@tabler/icons-react";
import { useState } from "react";

import { ApiError, fieldsOf } from "@/api/client";
import { tidy } from "@/features/labels/core/timeline";
import { notifyDone } from "@/ui/confirm";
import { ErrorNote } from "@/ui/ErrorNote";
import { Section } from "@/ui/Section";

import { Examples } from "@/features/labels/core/Examples";
import { moved, withoutLost, type EntryDraft } from "@/features/labels/core/guideline";
import { useChangeVocabulary, type Vocabulary } from "@/features/labels/core/hooks";
import classes from "@/features/labels/core/labelling.module.css";

interface Props {
  datasetId: string;
  cameras: readonly string[];
  /** as it was when the editing began */
  vocabulary: Vocabulary;
  /** as the server has it now */
  current: Vocabulary;
  close: () => void;
}

/** Texts, their order and what they mean, saved together. Labels keep their texts: renaming those is another page. */
export function GuidelineEditor({ datasetId, cameras, vocabulary, current, close }: Props) {
  const [entries, setEntries] = useState(() => withoutLost(vocabulary.entries));
  const [edit, setEdit] = useState(vocabulary.edit);
  const change = useChangeVocabulary(datasetId, vocabulary.tier);
  const fields = fieldsOf(change.error);
  const put = (index: number, entry: EntryDraft) => setEntries(entries.with(index, entry));
  const late = change.error instanceof ApiError && change.error.status === 409;
  const save = () =>
    change.mutate(
      { edit, entries: entries.map((entry) => ({ ...entry, text: tidy(entry.text) })) },
      {
        onSuccess: () => {
          notifyDone("The guideline is saved.");
          close();
        },
      },
    );

  return (
    <Section
      title="Guideline"
      description="The first nine have the digits 1 to 9. Changing a text here changes no labels; to change those too, rename it under Bulk edit."
      data-testid="guideline-editor"
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          save();
        }}
      >
        {entries.map((entry, index) => (
          <div key={index} className={classes.guide} data-testid="guideline-row">
            <span>{index < 9 && <Kbd>{index + 1}</Kbd>}</span>
            <Stack gap={6}>
              <TextInput
                value={entry.text}
                maxLength={400}
                error={fields[`entries.${index}.text`]}
                onChange={(event) => put(index, { ...entry, text: event.currentTarget.value })}
                aria-label={`Text ${index + 1}`}
                data-testid="guideline-text"
              />
              <Textarea
                value={entry.description}
                maxLength={4000}
                autosize
                minRows={1}
                maxRows={10}
                placeholder="When does it begin, when does it end, what is not meant?"
                onChange={(event) => put(index, { ...entry, description: event.currentTarget.value })}
                aria-label={`What text ${index + 1} means`}
                data-testid="guideline-description"
              />
              <Examples
                text={entry.text}
                cameras={cameras}
                examples={entry.examples.map((example) => ({
                  ...example,
                  camera: example.camera ?? null,
                  there: true,
                }))}
                onRemove={(place) => put(index, { ...entry, examples: entry.examples.toSpliced(place, 1) })}
              />
            </Stack>
            <Group gap={4} wrap="nowrap" align="flex-start">
              <Tool
                label={`Move text ${index + 1} up`}
                off={index === 0}
                onClick={() => setEntries(moved(entries, index, -1))}
              >
                <IconArrowUp size={16} />
              </Tool>
              <Tool
                label={`Move text ${index + 1} down`}
                off={index === entries.length - 1}
                onClick={() => setEntries(moved(entries, index, 1))}
              >
                <IconArrowDown size={16} />
              </Tool>
              <Tool label={`Remove text ${index + 1}`} onClick={() => setEntries(entries.toSpliced(index, 1))}>
                <IconTrash size={16} />
              </Tool>
            </Group>
          </div>
        ))}
        <Stack gap="sm" mt="sm">
          <ErrorNote error={change.error} />
          {late && (
            <Text size="sm">
              What you wrote is still here. Saving again puts it in the place of what somebody else saved.
            </Text>
          )}
          <Group justify="space-between">
            <Button
              variant="default"
              onClick={() => setEntries([...entries, { text: "", description: "", examples: [] }])}
              data-testid="guideline-add"
            >
              Add a text
            </Button>
            <Group gap="xs">
              <Button variant="default" onClick={close} data-testid="guideline-cancel">
                Discard changes
              </Button>
              {late && edit !== current.edit ? (
                <Button
                  color="orange"
                  onClick={() => {
                    setEdit(current.edit);
                    change.reset();
                  }}
                >
                  Replace with mine
                </Button>
              ) : (
                <Button
                  type="submit"
                  loading={change.isPending}
                  disabled={entries.some(({ text }) => tidy(text) === "")}
                  data-testid="guideline-save"
                >
                  Save
                </Button>
              )}
            </Group>
          </Group>
        </Stack>
      </form>
    </Section>
  );
}

function Tool({
  label,
  off = false,
  onClick,
  children,
}: {
  label: string;
  off?: boolean;
  onClick: () => void;
  children: React.ReactNode;
}) {
  return (
    <Tooltip label={label}>
      <ActionIcon variant="subtle" color="gray" disabled={off} onClick={onClick} aria-label={label}>
        {children}
      </ActionIcon>
    </Tooltip>
  );
}
