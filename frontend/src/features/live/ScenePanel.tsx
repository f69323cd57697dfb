import { Badge, Group, NumberInput, Select, Text } from "@mantine/core";
import { IconRefresh } from "@tabler/icons-react";
import { useState } from "react";

import { useCan } from "@/api/queries";
import { LEVELS as PICK_LEVELS, TASKS } from "@/features/evaluations/tasks";
import { ErrorNote } from "@/ui/ErrorNote";
import { formatNumber } from "@/ui/format";
import { RoleButton } from "@/ui/RoleButton";

import { useNow, useVerb } from "./hooks";
import classes from "./live.module.css";
import type { Scene, Task } from "./messages";

/** Levels of tasks that have some. */
const LEVELS: Record<string, readonly string[]> = { pick_colour: Object.keys(PICK_LEVELS) };

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
  const [level, setLevel] = useState<string | null>(null);
  const [seed, setSeed] = useState<number | string>("");
  const wanted = task ?? scene.task;
  const levels = LEVELS[wanted];
  const chosenLevel = levels && (level ?? (wanted === scene.task ? scene.level : null) ?? levels[0]);
  const next = typeof seed === "number" ? seed : scene.seed + 1;
  return (
    <section className={classes.panel} aria-label="Scene" data-testid="live-scene">
      <Group justify="space-between" mb={6} wrap="nowrap">
        <Text size="xs" c="dimmed" truncate data-testid="live-scene-now" data-seed={scene.seed} data-task={scene.task}>
          Scene: {TASKS[scene.task] ?? scene.task}
          {scene.level && `, ${scene.level}`}, seed {scene.seed}
        </Text>
        <Group gap={6} wrap="nowrap">
          <Text size="xs" c="dimmed" data-testid="live-reward">
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
        {levels && (
          <Select
            size="xs"
            style={{ flex: "1 1 0" }}
            aria-label="Level"
            data={[...levels]}
            value={chosenLevel ?? null}
            onChange={setLevel}
            allowDeselect={false}
            disabled={!operator}
            data-testid="live-level"
          />
        )}
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
              { task: wanted as Task, seed: next, ...(chosenLevel && { level: chosenLevel }) },
              { onSuccess: () => setSeed("") },
            )
          }
          data-testid="live-new-scene"
        >
          New scene
        </RoleButton>
      </Group>
      <ErrorNote error={reset.error} />
    </section>
  );
}
