import { Badge, Group, NumberInput, Select, Switch, Text, Tooltip } from "@mantine/core";
import { IconRefresh } from "@tabler/icons-react";
import { useState } from "react";

import { useCan } from "@/api/queries";
import { LEVELS, pickOf, pickText, PLAIN_PICK, SPLITS, TASKS, type PickOptions } from "@/features/robots/core/tasks";
import { ErrorNote } from "@/ui/ErrorNote";
import { formatNumber } from "@/ui/format";
import { RoleButton } from "@/ui/RoleButton";

import { useNow } from "./hooks";
import classes from "./live.module.css";
import type { Scene, Task } from "./messages";
import { nextScene, useNewScene } from "./scene";

/** A simulator's scene: what it shows, how the task stands, and another one. */
export function ScenePanel() {
  const scene = useNow((now) => now.scene);
  return scene ? <Shown scene={scene} /> : null;
}

function Shown({ scene }: { scene: Scene }) {
  const operator = useCan("operator");
  const fresh = useNewScene();
  const [task, setTask] = useState<string | null>(null);
  const [changed, setChanged] = useState<Partial<PickOptions>>({});
  const [seed, setSeed] = useState<number | string>("");
  const wanted = task ?? scene.task;
  const pick = { ...PLAIN_PICK, ...scene.pick, ...changed };
  const options = pickText(scene.task, scene.pick);
  // the task is in the field below, unless another one is being chosen there
  const now = [
    ...(wanted === scene.task ? [] : [TASKS[scene.task] ?? scene.task]),
    `seed ${scene.seed}`,
    ...(options ? [options] : []),
  ].join(", ");
  const next = typeof seed === "number" ? seed : nextScene(scene).seed;
  return (
    <section className={classes.panel} aria-label="Scene" data-testid="live-scene">
      <Group justify="space-between" mb={6} wrap="nowrap" gap="xs">
        <Text
          size="xs"
          c="dimmed"
          truncate
          title={now}
          data-testid="live-scene-now"
          data-seed={scene.seed}
          data-task={scene.task}
        >
          {now}
        </Text>
        <Group gap={6} wrap="nowrap">
          <Text size="xs" c="dimmed" style={{ whiteSpace: "nowrap" }} data-testid="live-reward">
            reward {formatNumber(scene.reward, 3)}
          </Text>
          {scene.success && <Badge color="teal">success</Badge>}
          {scene.wrong === true && <Badge color="red">wrong object</Badge>}
          <RoleButton
            needs="operator"
            size="compact-xs"
            variant="default"
            leftSection={<IconRefresh size={14} />}
            loading={fresh.pending}
            because={fresh.obstacle}
            onClick={() =>
              void fresh
                .begin({ task: wanted as Task, seed: next, pick: pickOf(wanted, pick) })
                .then((done) => done && setSeed(""))
            }
            data-testid="live-new-scene"
          >
            New scene
          </RoleButton>
        </Group>
      </Group>
      <Group gap="xs" wrap="nowrap">
        <Select
          size="xs"
          style={{ flex: "1 1 0" }}
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
          w={116}
          leftSection={
            <Text size="xs" c="dimmed" aria-hidden>
              seed
            </Text>
          }
          leftSectionWidth={40}
          aria-label="Seed"
          placeholder={String(next)}
          min={0}
          max={2 ** 32 - 1}
          allowDecimal={false}
          value={seed}
          onChange={setSeed}
          disabled={!operator}
          hideControls
          data-testid="live-seed"
        />
      </Group>
      {wanted === "pick_colour" && <Options value={pick} onChange={setChanged} disabled={!operator} />}
      <ErrorNote error={fresh.error} />
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
