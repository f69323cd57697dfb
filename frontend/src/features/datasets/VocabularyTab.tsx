import { ActionIcon, Card, Group, Kbd, Stack, Text, TextInput, Tooltip } from "@mantine/core";
import { IconArrowDown, IconArrowUp, IconTrash } from "@tabler/icons-react";
import { useState } from "react";

import { LabelDot } from "@/features/labels/core/LabelDot";
import { tidy } from "@/features/labels/core/timeline";
import { useCan } from "@/api/queries";
import { ErrorNote } from "@/ui/ErrorNote";
import { RoleButton } from "@/ui/RoleButton";

import classes from "./datasets.module.css";
import { useChangeDataset, type Dataset } from "./core/hooks";

/** The texts that annotators choose from, in the order of their digits. Every change is saved at once. */
export function VocabularyTab({ dataset }: { dataset: Dataset }) {
  const change = useChangeDataset(dataset.id);
  const may = useCan("operator");
  const [fresh, setFresh] = useState("");
  const [complaint, setComplaint] = useState<string | null>(null);
  // what was just asked for is shown before the server has it
  const entries = change.isPending ? (change.variables.vocabulary ?? dataset.vocabulary) : dataset.vocabulary;

  const save = (vocabulary: string[]) => change.mutate({ vocabulary });
  const add = () => {
    const text = tidy(fresh);
    if (text === "") return;
    if (entries.includes(text)) {
      setComplaint("This text is already in the list");
      return;
    }
    save([...entries, text]);
    setFresh("");
    setComplaint(null);
  };
  const move = (index: number, by: 1 | -1) => {
    const entry = entries[index];
    if (entry === undefined) return;
    save(entries.toSpliced(index, 1).toSpliced(index + by, 0, entry));
  };

  return (
    <Card maw={820} data-testid="vocabulary">
      <Stack gap="sm">
        <Text size="sm" c="dimmed">
          Substeps to choose from while labelling; the first nine have the digits 1 to 9. Changing the list does not
          change existing labels.
        </Text>
        {entries.map((entry, index) => (
          <div key={entry} className={classes.row} data-testid="vocabulary-row">
            <Text size="sm" ta="center">
              {index < 9 ? <Kbd>{index + 1}</Kbd> : null}
            </Text>
            <Group gap="xs" wrap="nowrap">
              <LabelDot index={index} />
              <Entry
                key={entry}
                text={entry}
                disabled={!may}
                onChange={(text) => {
                  if (!entries.includes(text)) save(entries.with(index, text));
                }}
              />
            </Group>
            <Group gap={4} wrap="nowrap">
              <Tooltip label="Up">
                <ActionIcon
                  variant="subtle"
                  color="gray"
                  disabled={!may || index === 0}
                  onClick={() => move(index, -1)}
                  aria-label={`Move "${entry}" up`}
                >
                  <IconArrowUp size={16} />
                </ActionIcon>
              </Tooltip>
              <Tooltip label="Down">
                <ActionIcon
                  variant="subtle"
                  color="gray"
                  disabled={!may || index === entries.length - 1}
                  onClick={() => move(index, 1)}
                  aria-label={`Move "${entry}" down`}
                >
                  <IconArrowDown size={16} />
                </ActionIcon>
              </Tooltip>
              <Tooltip label="Remove">
                <ActionIcon
                  variant="subtle"
                  color="red"
                  disabled={!may}
                  onClick={() => save(entries.toSpliced(index, 1))}
                  aria-label={`Remove "${entry}"`}
                  data-testid="vocabulary-remove"
                >
                  <IconTrash size={16} />
                </ActionIcon>
              </Tooltip>
            </Group>
          </div>
        ))}
        <form
          onSubmit={(event) => {
            event.preventDefault();
            add();
          }}
        >
          <Group align="flex-start" gap="xs">
            <TextInput
              aria-label="New substep text"
              placeholder="grasp the cube with the right arm"
              maxLength={400}
              value={fresh}
              error={complaint}
              disabled={!may}
              onChange={(event) => {
                setFresh(event.currentTarget.value);
                setComplaint(null);
              }}
              style={{ flex: 1 }}
              data-testid="vocabulary-new"
            />
            <RoleButton type="submit" needs="operator" variant="default" data-testid="vocabulary-add">
              Add
            </RoleButton>
          </Group>
        </form>
        <ErrorNote error={change.error} />
      </Stack>
    </Card>
  );
}

/** Edited in place: Enter or leaving the field saves, Escape brings the old text back. */
function Entry({ text, disabled, onChange }: { text: string; disabled: boolean; onChange: (text: string) => void }) {
  const [value, setValue] = useState(text);
  const done = () => {
    const wanted = tidy(value);
    if (wanted !== "" && wanted !== text) onChange(wanted);
    else setValue(text);
  };
  return (
    <TextInput
      value={value}
      disabled={disabled}
      maxLength={400}
      variant="unstyled"
      size="sm"
      aria-label={`Text of "${text}"`}
      style={{ flex: 1 }}
      onChange={(event) => setValue(event.currentTarget.value)}
      onBlur={done}
      onKeyDown={(event) => {
        if (event.key === "Enter") event.currentTarget.blur();
        if (event.key === "Escape") setValue(text);
      }}
    />
  );
}
