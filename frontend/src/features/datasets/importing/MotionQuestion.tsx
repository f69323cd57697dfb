import { ActionIcon, Button, Checkbox, Group, Select, Stack, Text } from "@mantine/core";
import { IconX } from "@tabler/icons-react";

import type { Schema } from "@/api/client";
import { plural } from "@/ui/format";
import { NumberField } from "@/ui/NumberField";

import { Question } from "./Question";
import classes from "./importing.module.css";
import { curvePath, toggled, type Preview, type Profile } from "./profile";

const WIDTH = 200;
const HEIGHT = 30;

interface Props {
  preview: Preview;
  profile: Profile;
  onChange: (profile: Profile) => void;
}

/** Which dimensions are state and action, in which units, and how late the actions are. */
export function MotionQuestion({ preview, profile, onChange }: Props) {
  const { state, action } = preview;
  if (!state || !action) return null;
  const grippers = profile.grippers;
  const setGripper = (place: number, fields: Partial<Schema<"GripperRange">>) =>
    onChange({ ...profile, grippers: grippers.map((one, index) => (index === place ? { ...one, ...fields } : one)) });
  return (
    <Question
      title="State, action and units"
      guess={preview.guessed.includes("state") || preview.guessed.includes("action")}
    >
      <div className={classes.motion}>
        <Dimensions
          title="State"
          motion={state}
          picked={profile.state}
          onPick={(picked) => onChange({ ...profile, state: picked })}
          testid="import-state"
        />
        <Dimensions
          title="Action"
          motion={action}
          picked={profile.action}
          onPick={(picked) => onChange({ ...profile, action: picked })}
          testid="import-action"
        />
      </div>
      <Group mt="sm" align="flex-start" gap="lg">
        <Select
          label="Angles are in"
          data={[
            { value: "radians", label: "Radians" },
            { value: "degrees", label: "Degrees (converted)" },
          ]}
          value={profile.angles}
          allowDeselect={false}
          onChange={(value) => onChange({ ...profile, angles: value === "degrees" ? "degrees" : "radians" })}
          w={190}
          data-testid="import-angles"
        />
        <NumberField
          label="Actions are late by"
          description="Steps; they are moved earlier"
          value={profile.action_shift}
          onChange={(value) => onChange({ ...profile, action_shift: value ?? 0 })}
          min={-100}
          max={100}
          allowDecimal={false}
          w={190}
          data-testid="import-shift"
        />
        {preview.base_dimensions > 0 && (
          <Checkbox
            mt={28}
            label={`Append the base's motion (${plural(preview.base_dimensions, "dimension")}) to the action`}
            checked={profile.append_base}
            onChange={(event) => onChange({ ...profile, append_base: event.currentTarget.checked })}
            data-testid="import-base"
          />
        )}
      </Group>
      <Stack gap="xs" mt="sm">
        {grippers.map((gripper, place) => (
          <Group key={place} gap="xs" align="flex-end" data-testid="import-gripper">
            <NumberField
              size="xs"
              label="Gripper's dimension"
              value={gripper.dimension}
              onChange={(value) => setGripper(place, { dimension: value ?? 0 })}
              min={0}
              allowDecimal={false}
              w={140}
            />
            <NumberField
              size="xs"
              label="Closed at"
              value={gripper.closed}
              onChange={(value) => setGripper(place, { closed: value ?? 0 })}
              w={110}
            />
            <NumberField
              size="xs"
              label="Open at"
              value={gripper.opened}
              onChange={(value) => setGripper(place, { opened: value ?? 1 })}
              w={110}
            />
            <ActionIcon
              variant="subtle"
              color="gray"
              onClick={() => onChange({ ...profile, grippers: grippers.filter((_, index) => index !== place) })}
              aria-label={`Remove the range of gripper ${place + 1}`}
            >
              <IconX size={16} />
            </ActionIcon>
          </Group>
        ))}
        <Group gap="xs">
          <Button
            size="xs"
            variant="default"
            onClick={() => onChange({ ...profile, grippers: [...grippers, gripperOf(preview, grippers.length)] })}
            data-testid="import-gripper-add"
          >
            Add a gripper&apos;s range
          </Button>
          <Text size="xs" c="dimmed">
            Brings a gripper to 0 closed .. 1 open; without one its values stay.
          </Text>
        </Group>
      </Stack>
    </Question>
  );
}

/** The last dimension, or that of the other arm, with the range that it has here. */
function gripperOf(preview: Preview, there: number): Schema<"GripperRange"> {
  const motion = preview.kept_state ?? preview.state;
  const count = motion?.count ?? 1;
  const dimension = there > 0 && count % 2 === 0 ? count / 2 - 1 : count - 1;
  const found = motion?.dimensions[dimension];
  const low = found?.low ?? 0;
  const high = found?.high ?? 1;
  return { dimension, closed: low, opened: high === low ? low + 1 : high };
}

function Dimensions({
  title,
  motion,
  picked,
  onPick,
  testid,
}: {
  title: string;
  motion: Schema<"MotionOut">;
  picked: readonly number[] | null | undefined;
  onPick: (picked: number[] | null) => void;
  testid: string;
}) {
  const kept = picked?.length ?? motion.count;
  return (
    <div>
      <Text size="sm" fw={500} mb={4}>
        {title}: {kept === motion.count ? plural(kept, "dimension") : `${kept} of ${plural(motion.count, "dimension")}`}
      </Text>
      {/* scrollable, so it must be reachable by keyboard: its boxes are */}
      <div className={classes.dimensions} data-testid={testid}>
        {motion.dimensions.map(({ index, name, low, high, curve }) => {
          const isPicked = picked?.includes(index) ?? true;
          return (
            <div key={index} className={classes.dimension} data-left-out={!isPicked || undefined}>
              <Checkbox
                size="xs"
                label={name ? `${index} ${name}` : String(index)}
                checked={isPicked}
                disabled={isPicked && kept === 1}
                onChange={() => onPick(toggled(picked, index, motion.count))}
                aria-label={`${title} ${index}`}
              />
              <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden>
                <path d={curvePath(curve, WIDTH, HEIGHT)} />
              </svg>
              <span className={classes.range}>
                {low === null || high === null ? "no numbers" : `${short(low)} .. ${short(high)}`}
              </span>
            </div>
          );
        })}
        {motion.count > motion.dimensions.length && (
          <Text size="xs" c="dimmed">
            and {motion.count - motion.dimensions.length} more
          </Text>
        )}
      </div>
    </div>
  );
}

function short(value: number): string {
  return String(Number(value.toPrecision(3)));
}
