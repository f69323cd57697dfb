import { Select, SimpleGrid, Switch, TextInput } from "@mantine/core";

import { NumberField } from "@/ui/NumberField";

import { boundsOf, type Field, type Options, type Value } from "./tasks";

interface Props {
  fields: readonly Field[];
  value: Options;
  onChange: (value: Options) => void;
  /** of the test ids: "demo" or "evaluation" */
  name: string;
  error?: React.ReactNode;
}

const ORDER = ["label", "input", "description", "error"] as const;

/** The options of a task, as its robot describes them. */
export function OptionFields({ fields, value, onChange, name, error }: Props) {
  const set = (field: Field) => (chosen: Value) => onChange({ ...value, [field.name]: chosen });
  const flags = fields.filter(({ kind }) => kind === "flag");
  const others = fields.filter(({ kind }) => kind !== "flag");
  return (
    <>
      {others.length > 0 && (
        <SimpleGrid cols={{ base: 1, sm: 2 }} data-testid={`${name}-options`}>
          {others.map((field) => (
            <OptionField key={field.name} field={field} value={value[field.name]} onChange={set(field)} name={name} />
          ))}
        </SimpleGrid>
      )}
      {flags.map((field) => (
        <Switch
          key={field.name}
          label={field.label}
          description={field.help}
          checked={value[field.name] === true}
          onChange={(event) => set(field)(event.currentTarget.checked)}
          data-testid={`${name}-${field.name}`}
        />
      ))}
      {error}
    </>
  );
}

function OptionField({
  field,
  value,
  onChange,
  name,
}: {
  field: Field;
  value: Value | undefined;
  onChange: (value: Value) => void;
  name: string;
}) {
  const shown = {
    label: field.unit ? `${field.label}, ${field.unit}` : field.label,
    description: field.help,
    inputWrapperOrder: [...ORDER],
    "data-testid": `${name}-${field.name}`,
  };
  if (field.kind === "choice")
    return (
      <Select
        {...shown}
        data={field.choices.map(({ value, label }) => ({ value, label }))}
        allowDeselect={false}
        value={String(value ?? "")}
        onChange={(chosen) => chosen !== null && onChange(chosen)}
      />
    );
  if (field.kind === "text")
    return (
      <TextInput
        {...shown}
        value={String(value ?? "")}
        maxLength={400}
        onChange={(event) => onChange(event.currentTarget.value)}
      />
    );
  return (
    <NumberField
      {...shown}
      {...boundsOf(field)}
      allowDecimal={field.kind === "number"}
      value={typeof value === "number" ? value : null}
      onChange={onChange}
      mayBeEmpty={field.optional}
    />
  );
}
