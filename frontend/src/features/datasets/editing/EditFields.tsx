import { Group, NumberInput, Select, SimpleGrid, Stack, TextInput } from "@mantine/core";

import { useDatasets, type Dataset } from "@/features/datasets/core/hooks";

import { NEW, type Action, type Fields } from "./words";

interface Props {
  action: Action;
  dataset: Dataset;
  fields: Fields;
  onChange: (some: Partial<Fields>) => void;
}

/** What an action needs to know. */
export function EditFields({ action, dataset, fields, onChange }: Props) {
  switch (action) {
    case "keep":
    case "cut":
      return (
        <Group grow align="flex-start">
          {(["first", "last"] as const).map((name) => (
            <NumberInput
              key={name}
              label={name === "first" ? "First step" : "Last step"}
              description={action === "keep" ? "Stays" : "Goes"}
              min={0}
              allowDecimal={false}
              value={fields[name]}
              onChange={(value) => onChange({ [name]: typeof value === "number" ? value : "" })}
              data-testid={`edit-${name}`}
            />
          ))}
        </Group>
      );
    case "split":
      return (
        <TextInput
          label="New parts begin at steps"
          description="One or several, separated by commas."
          value={fields.at}
          onChange={(event) => onChange({ at: event.currentTarget.value })}
          data-testid="edit-at"
        />
      );
    case "join":
      return <Instruction fields={fields} onChange={onChange} description="Needed where they have different ones." />;
    case "facts":
      return (
        <SimpleGrid cols={{ base: 1, sm: 2 }}>
          <Instruction fields={fields} onChange={onChange} description="Empty: as it is." />
          <Select
            label="Outcome"
            description="Empty: as it is."
            clearable
            value={fields.outcome}
            onChange={(outcome) => onChange({ outcome })}
            data={[
              { value: "success", label: "Success" },
              { value: "failure", label: "Failure" },
              { value: "unknown", label: "Not said" },
            ]}
            data-testid="edit-outcome"
          />
        </SimpleGrid>
      );
    case "rename":
      return (
        <SimpleGrid cols={{ base: 1, sm: 2 }}>
          {dataset.cameras.map((camera) => (
            <TextInput
              key={camera}
              label={`Camera ${camera}`}
              placeholder={camera}
              maxLength={64}
              value={fields.cameras[camera] ?? ""}
              onChange={(event) => onChange({ cameras: { ...fields.cameras, [camera]: event.currentTarget.value } })}
              data-testid={`edit-camera-${camera}`}
            />
          ))}
          <TextInput
            label="Dimensions of state and action"
            description="Old name or number, from 0."
            placeholder="3=elbow, 6=gripper"
            value={fields.dimensions}
            onChange={(event) => onChange({ dimensions: event.currentTarget.value })}
            data-testid="edit-dimensions"
          />
        </SimpleGrid>
      );
    case "move":
    case "copy":
      return <Target dataset={dataset} fields={fields} onChange={onChange} />;
    default:
      return null;
  }
}

function Instruction({ fields, onChange, description }: Pick<Props, "fields" | "onChange"> & { description: string }) {
  return (
    <TextInput
      label="Instruction"
      description={description}
      maxLength={1000}
      value={fields.instruction}
      onChange={(event) => onChange({ instruction: event.currentTarget.value })}
      data-testid="edit-instruction"
    />
  );
}

function Target({ dataset, fields, onChange }: Omit<Props, "action">) {
  const { data } = useDatasets();
  const others = (data ?? []).filter(({ id }) => id !== dataset.id);
  return (
    <Stack gap="sm">
      <Select
        label="Dataset"
        placeholder="Choose one"
        searchable={others.length > 8}
        allowDeselect={false}
        value={fields.target}
        onChange={(target) => onChange({ target })}
        data={[{ value: NEW, label: "A new dataset" }, ...others.map(({ id, name }) => ({ value: id, label: name }))]}
        data-testid="edit-target"
      />
      {fields.target === NEW && (
        <TextInput
          label="Its name"
          maxLength={128}
          value={fields.name}
          onChange={(event) => onChange({ name: event.currentTarget.value })}
          data-testid="edit-target-name"
        />
      )}
    </Stack>
  );
}
