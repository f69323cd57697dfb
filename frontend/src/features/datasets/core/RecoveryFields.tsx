import { SimpleGrid, Stack, Switch } from "@mantine/core";

import type { Schema } from "@/api/client";
import { NumberField } from "@/ui/NumberField";

export type Recovery = Required<Schema<"RecoveryOptions">>;

/** The specification's own defaults. */
export const RECOVERY: Recovery = { push: 0.3, miss: 0.3, slip: 0.3, wide_start: 0.3, fastest: 1.5, noise: 0.01 };

interface Field {
  name: keyof Recovery;
  label: string;
  description: string;
  min: number;
  max: number;
  step: number;
}

const FIELDS: Field[] = [
  { name: "push", label: "Shoved", description: "Part of the episodes: an object is moved by 1 to 3 cm", ...share() },
  { name: "miss", label: "Missed", description: "Part of the episodes: the gripper closes on nothing", ...share() },
  { name: "slip", label: "Slipped", description: "Part of the episodes: a grip opens on the way", ...share() },
  {
    name: "wide_start",
    label: "Wide start",
    description: "Part of the episodes: the hands start anywhere",
    ...share(),
  },
  { name: "fastest", label: "Speed", description: "1 to this many times the usual speed", min: 1, max: 2, step: 0.1 },
  { name: "noise", label: "Noise", description: "Radians, executed and not learnt", min: 0, max: 0.05, step: 0.002 },
];

function share() {
  return { min: 0, max: 1, step: 0.1 };
}

interface Props {
  on: boolean;
  onSwitch: (on: boolean) => void;
  value: Recovery;
  onChange: (value: Recovery) => void;
}

/** What goes wrong in demonstrations, so that they show how it is made good. */
export function RecoveryFields({ on, onSwitch, value, onChange }: Props) {
  return (
    <Stack gap="xs">
      <Switch
        label="With mishaps and recoveries"
        description="Objects are shoved, grips miss and slip, and the expert tries again. The mishaps themselves are left out of training."
        checked={on}
        onChange={(event) => onSwitch(event.currentTarget.checked)}
        data-testid="demo-recovery"
      />
      {on && (
        <SimpleGrid cols={{ base: 2, sm: 3 }} data-testid="demo-recovery-fields">
          {FIELDS.map(({ name, ...field }) => (
            <NumberField
              key={name}
              {...field}
              inputWrapperOrder={["label", "input", "description", "error"]}
              decimalScale={3}
              value={value[name]}
              onChange={(next) => next !== null && onChange({ ...value, [name]: next })}
              data-testid={`demo-recovery-${name}`}
            />
          ))}
        </SimpleGrid>
      )}
    </Stack>
  );
}
