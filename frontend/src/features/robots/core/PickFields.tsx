import { Select, SimpleGrid, Switch } from "@mantine/core";

import { LEVELS, SPLITS, type PickOptions } from "./tasks";

interface Props {
  value: PickOptions;
  onChange: (value: PickOptions) => void;
  /** of the test ids: "demo" or "evaluation" */
  name: string;
  /** whether the other cube can be named: an evaluation asks so whether the instruction matters */
  swappable?: boolean;
}

/** The options of pick_colour. */
export function PickFields({ value, onChange, name, swappable }: Props) {
  return (
    <>
      <SimpleGrid cols={{ base: 1, sm: 2 }} data-testid={`${name}-pick`}>
        <Select
          label="Cubes"
          data={Object.entries(LEVELS).map(([value, label]) => ({ value, label }))}
          allowDeselect={false}
          value={value.level}
          onChange={(level) => level && onChange({ ...value, level: level as PickOptions["level"] })}
          data-testid={`${name}-level`}
        />
        <Select
          label="Places and phrasings"
          description={
            value.level === "spots"
              ? "Of two spots only phrasings are held out"
              : "Held out: what demonstrations for training never show"
          }
          inputWrapperOrder={["label", "input", "description", "error"]}
          data={Object.entries(SPLITS).map(([value, label]) => ({ value, label }))}
          allowDeselect={false}
          value={value.split}
          onChange={(split) => split && onChange({ ...value, split: split as PickOptions["split"] })}
          data-testid={`${name}-split`}
        />
      </SimpleGrid>
      {swappable && (
        <Switch
          label="Name the other cube"
          description="The same scenes with the other cube meant: a policy that ignores the instruction fails one of the two"
          checked={value.swapped}
          onChange={(event) => onChange({ ...value, swapped: event.currentTarget.checked })}
          data-testid={`${name}-swapped`}
        />
      )}
    </>
  );
}
