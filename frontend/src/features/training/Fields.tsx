import { Anchor, Box, Collapse, Group, SimpleGrid, Stack, Text, TextInput, Title } from "@mantine/core";
import { IconChevronDown, IconChevronRight, IconSearch } from "@tabler/icons-react";
import { useState } from "react";

import { plural } from "@/ui/format";
import { Section } from "@/ui/Section";

import { FieldInput } from "./FieldInput";
import { applies, changes, grouped, matches, type Field, type TrainForm } from "./form";
import type { DraftForm } from "./useDraft";

interface Props {
  form: TrainForm;
  draft: DraftForm;
  errors: Record<string, string>;
  /** cameras that the chosen versions have */
  cameras: readonly string[];
}

const COLUMNS = { base: 1, sm: 2, xl: 3 };

/** Every field of the spec that counts: the basics open, all others folded and found by search. */
export function Fields({ form, draft, errors, cameras }: Props) {
  const [open, setOpen] = useState(false);
  const [words, setWords] = useState("");
  const there = form.fields.filter((field) => applies(form, draft.draft, field));
  const basics = there.filter(({ advanced }) => !advanced);
  const others = there.filter(({ advanced }) => advanced);
  const changed = changes(form, draft.draft);
  const hidden = changed.filter(({ advanced }) => advanced).length;
  const complaints = others.filter(({ path }) => path in errors || path in draft.invalid).length;
  // a complaint is never folded away
  const shown = open || complaints > 0;
  const input = (field: Field) => (
    <FieldInput
      key={field.path}
      form={form}
      draft={draft}
      field={field}
      error={errors[field.path]}
      choices={field.path === "cameras" ? cameras : undefined}
    />
  );
  const found = others.filter((field) => matches(field, words));
  return (
    <Section
      title="Settings"
      description="Filled in by the preset. Change what you like; a mark shows what differs, and takes it back."
      actions={
        <Anchor
          component="button"
          type="button"
          size="sm"
          onClick={() => draft.reset()}
          style={{ visibility: changed.length > 0 ? "visible" : "hidden" }}
          data-testid="reset-all"
        >
          Take back {plural(changed.length, "change")}
        </Anchor>
      }
      data-testid="run-fields"
    >
      <SimpleGrid cols={COLUMNS} spacing="lg" verticalSpacing="md">
        {basics.map(input)}
      </SimpleGrid>
      <Group mt="lg" justify="space-between" mih={36}>
        <Anchor
          component="button"
          type="button"
          size="sm"
          onClick={() => setOpen(!shown)}
          aria-expanded={shown}
          data-testid="advanced-toggle"
          style={{ display: "inline-flex", alignItems: "center", gap: 4 }}
        >
          {shown ? <IconChevronDown size={16} /> : <IconChevronRight size={16} />}
          {plural(others.length, "more setting")}
          {hidden > 0 && `, ${hidden} changed`}
        </Anchor>
        {shown && (
          <TextInput
            aria-label="Search settings"
            placeholder="Search settings"
            size="xs"
            w={260}
            leftSection={<IconSearch size={14} />}
            value={words}
            onChange={(event) => setWords(event.currentTarget.value)}
            data-testid="advanced-search"
          />
        )}
      </Group>
      <Collapse expanded={shown}>
        <Stack gap="lg" mt="sm">
          {grouped(form, found).map(([group, fields]) => (
            <Box key={group}>
              <Title order={3} tt="capitalize" mb="xs">
                {group}
              </Title>
              <SimpleGrid cols={COLUMNS} spacing="lg" verticalSpacing="md">
                {fields.map(input)}
              </SimpleGrid>
            </Box>
          ))}
          {found.length === 0 && (
            <Text size="sm" c="dimmed">
              No setting has these words.
            </Text>
          )}
        </Stack>
      </Collapse>
    </Section>
  );
}
