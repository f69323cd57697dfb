import { Box, Group, MultiSelect, Select, Switch, Text, TextInput, Tooltip, UnstyledButton } from "@mantine/core";
import { IconArrowBackUp } from "@tabler/icons-react";
import { useState } from "react";

import classes from "./FieldInput.module.css";
import { parse, toReading, toText } from "./fieldText";
import { differs, same, usual, valueOf, type Field, type TrainForm } from "./form";
import type { DraftForm } from "./useDraft";

const ORDER: ("label" | "input" | "description" | "error")[] = ["label", "input", "description", "error"];

interface Props {
  form: TrainForm;
  draft: DraftForm;
  field: Field;
  /** the server's complaint */
  error?: string;
  /** for fields whose choices depend on the data: cameras */
  choices?: readonly string[];
}

/** One field of the spec: its value, what the preset says if that is something else, and the way back to it. */
export function FieldInput({ form, draft, field, error, choices }: Props) {
  const [typed, setTyped] = useState<string | null>(null);
  const value = valueOf(form, draft.draft, field);
  const standard = usual(form, draft.draft, field);
  const changed = differs(form, draft.draft, field) || field.path in draft.invalid;
  const options = field.choices ?? choices ?? [];
  const placeholder = field.optional ? "default" : undefined;
  const common = {
    label: (
      <Label
        field={field}
        changed={changed}
        standard={standard}
        reset={() => {
          setTyped(null);
          draft.reset(field.path);
        }}
      />
    ),
    // "Optimiser steps" below a field that is in optimiser steps says nothing
    description: field.description.toLowerCase() === field.unit ? undefined : field.description,
    "data-testid": `field-${field.path}`,
  };
  const below = { inputWrapperOrder: ORDER, labelProps: { style: { display: "block" } }, ...common };
  return (
    <Box className={classes.field} mod={{ changed }} id={`field-${field.path}`} data-changed={changed || undefined}>
      {field.kind === "boolean" ? (
        <Switch
          {...common}
          mt={4}
          error={error}
          checked={value === true}
          onChange={(event) => draft.choose(field, event.currentTarget.checked)}
        />
      ) : field.kind === "choice" ? (
        <Select
          {...below}
          error={error}
          placeholder={placeholder}
          clearable={field.optional && standard === null}
          allowDeselect={false}
          data={options}
          value={typeof value === "string" ? value : null}
          onChange={(next) => draft.choose(field, next)}
        />
      ) : field.kind === "choices" ? (
        <MultiSelect
          {...below}
          error={error}
          placeholder={Array.isArray(value) && value.length > 0 ? undefined : placeholder}
          clearable={field.optional}
          data={options}
          value={Array.isArray(value) ? value.map(String) : []}
          onChange={(next) => draft.choose(field, next.length === 0 && field.optional ? null : next)}
        />
      ) : (
        <TextInput
          {...below}
          placeholder={placeholder}
          inputMode={field.kind === "integer" ? "numeric" : undefined}
          value={shown(field, draft.invalid[field.path], typed, value)}
          error={complaint(field, draft.invalid[field.path]) ?? error}
          onChange={(event) => {
            setTyped(event.currentTarget.value);
            draft.type(field, event.currentTarget.value);
          }}
          onBlur={() => setTyped(null)}
        />
      )}
    </Box>
  );
}

/** What was typed stays as it was typed while it stands for the value; "1e" and "1e-4 " are on their way. */
function shown(field: Field, invalid: string | undefined, typed: string | null, value: unknown): string {
  if (invalid !== undefined) return invalid;
  if (typed !== null) {
    const parsed = parse(field, typed);
    if ("value" in parsed && same(parsed.value, value)) return typed;
  }
  return toText(value);
}

function complaint(field: Field, text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const parsed = parse(field, text);
  return "error" in parsed ? parsed.error : undefined;
}

function Label({
  field,
  changed,
  standard,
  reset,
}: {
  field: Field;
  changed: boolean;
  standard: unknown;
  reset: () => void;
}) {
  return (
    <Group component="span" justify="space-between" wrap="nowrap" gap="xs">
      <span>
        {field.label}
        {field.unit && (
          <Text span size="xs" c="dimmed" fw={400}>
            {" "}
            {field.unit}
          </Text>
        )}
      </span>
      {changed && (
        <Tooltip label="Back to what the preset says">
          <UnstyledButton
            className={classes.reset}
            aria-label={`${field.label}: back to ${toReading(standard)}`}
            data-testid={`reset-${field.path}`}
            onClick={(event) => {
              event.preventDefault();
              reset();
            }}
          >
            preset {toReading(standard)}
            <IconArrowBackUp size={14} />
          </UnstyledButton>
        </Tooltip>
      )}
    </Group>
  );
}
