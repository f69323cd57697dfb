import { Badge, Group, NumberInput, Select, Switch, Text, Tooltip } from "@mantine/core";
import { IconRefresh } from "@tabler/icons-react";
import { useState } from "react";

import { useCan } from "@/api/queries";
import { LEVELS, pickOf, pickText, PLAIN_PICK, SPLITS, TASKS, type PickOptions } from "@/features/evaluations/tasks";
import { ErrorNote } from "@/ui/ErrorNote";
import { formatNumber } from "@/ui/format";
import { RoleButton } from "@/ui/RoleButton";

import { useNow, useVerb } from "./hooks";
import classes from "./live.module.css";
import type { Scene, Task } from "./messages";

/** A simulator's scene: what it shows, how the task stands, and another one. */
export function ScenePanel() {
  const scene = useNow((now) => now.scene);
  return scene ? <Shown scene={scene} /> : null;
}

function Shown({ scene }: { scene: Scene }) {
  const operator = useCan("operator");
  const busy = useNow(({ mode }) => mode === "policy" || mode === "drive");
  const reset = useVerb("scene");
  const [task, setTask] = useState<string | null>(null);
  const [changed, setChanged] = useState<Partial<PickOptions>>({});
  const [seed, setSeed] = useState<number | string>("");
  const wanted = task ?? scene.task;
  const pick = { ...PLAIN_PICK, ...scene.pick, ...changed };
  const options = pickText(scene.task, scene.pick);
  const next = typeof seed === "number" ? seed : scene.seed + 1;
  return (
    <section className={classes.panel} aria-label="Scene" data-testid="live-scene">
      <Group justify="space-between" mb={6} wrap="nowrap">
        <Text
          size="xs"
          c="dimmed"
          truncate
          title={options}
          data-testid="live-scene-now"
          data-seed={scene.seed}
          data-task={scene.task}
        >
          {TASKS[scene.task] ?? scene.task}, seed {scene.seed}
          {options && `: ${options}`}
        </Text>
        <Group gap={6} wrap="nowrap">
          <Text size="xs" c="dimmed" style={{ whiteSpace: "nowrap" }} data-testid="live-reward">
            reward {formatNumber(scene.reward, 3)}
          </Text>
          {scene.success && <Badge color="teal">success</Badge>}
          {scene.wrong === true && <Badge color="red">wrong object</Badge>}
        </Group>
      </Group>
      <Group gap="xs" wrap="nowrap">
        <Select
          size="xs"
          style={{ flex: "2 1 0" }}
          aria-label="Task"
          data={Object.entries(TASKS).map(([value, label]) => ({ value, label }))}
          value={wanted}
          onChange={setTask}
          allowDeselect={false}
          disabled={!operator}
          data-testid="live-task"
        />
        <NumberInput
          size="xs"
          w={76}
          aria-label="Seed"
          placeholder={`seed ${next}`}
          min={0}
          max={2 ** 32 - 1}
          allowDecimal={false}
          value={seed}
          onChange={setSeed}
          disabled={!operator}
          hideControls
          data-testid="live-seed"
        />
        <RoleButton
          needs="operator"
          size="xs"
          variant="default"
          leftSection={<IconRefresh size={14} />}
          loading={reset.isPending}
          because={busy ? "Pause the policy or stop driving first." : null}
          onClick={() =>
            reset.mutate(
              { task: wanted as Task, seed: next, pick: pickOf(wanted, pick) },
              { onSuccess: () => setSeed("") },
            )
          }
          data-testid="live-new-scene"
        >
          New scene
        </RoleButton>
      </Group>
      {wanted === "pick_colour" && <Options value={pick} onChange={setChanged} disabled={!operator} />}
      <ErrorNote error={reset.error} />
    </section>
  );
}

/** Options of pick_colour, in one line and in the words of the commands: there is no room for sentences. */
function Options({
  value,
  onChange,
  disabled,
}: {
  value: PickOptions;
  onChange: (value: PickOptions) => void;
  disabled: boolean;
}) {
  return (
    <Group gap="xs" wrap="nowrap" mt={6}>
      <Select
        size="xs"
        style={{ flex: "1 1 0" }}
        aria-label="Cubes"
        data={Object.keys(LEVELS)}
        value={value.level}
        onChange={(level) => level && onChange({ ...value, level: level as PickOptions["level"] })}
        allowDeselect={false}
        disabled={disabled}
        data-testid="live-level"
      />
      <Select
        size="xs"
        style={{ flex: "1 1 0" }}
        aria-label="Places and phrasings"
        data={Object.keys(SPLITS).map((value) => ({ value, label: value.replace("_", " ") }))}
        value={value.split}
        onChange={(split) => split && onChange({ ...value, split: split as PickOptions["split"] })}
        allowDeselect={false}
        disabled={disabled}
        data-testid="live-split"
      />
      <Tooltip label="The same scene with the other cube meant">
        <Switch
          size="xs"
          label="Other cube"
          checked={value.swapped}
          onChange={(event) => onChange({ ...value, swapped: event.currentTarget.checked })}
          disabled={disabled}
          data-testid="live-swapped"
        />
      </Tooltip>
    </Group>
  );
}
