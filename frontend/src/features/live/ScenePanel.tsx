import { Badge, Group, NumberInput, Select, Switch, Text, TextInput, Tooltip } from "@mantine/core";
import { IconRefresh } from "@tabler/icons-react";
import { useState } from "react";

import { useCan } from "@/api/queries";
import {
  boundsOf,
  optionsOf,
  optionsText,
  taskOf,
  useTasksOf,
  type Field,
  type Options,
  type Value,
} from "@/features/robots/core/tasks";
import { ErrorNote } from "@/ui/ErrorNote";
import { formatNumber } from "@/ui/format";
import { NumberField } from "@/ui/NumberField";
import { RoleButton } from "@/ui/RoleButton";

import { useLiveRobot, useNow } from "./hooks";
import classes from "./live.module.css";
import type { Scene } from "./messages";
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
  const [changed, setChanged] = useState<Options>({});
  const tasks = useTasksOf(useLiveRobot().name);
  const [seed, setSeed] = useState<number | string>("");
  const wanted = task ?? scene.task;
  const wantedTask = taskOf(tasks, wanted);
  // a task that is not known yet, or whose host does not say, keeps the options that it has
  const options = wantedTask
    ? optionsOf(wantedTask, { ...(wanted === scene.task ? scene.options : {}), ...changed })
    : wanted === scene.task
      ? scene.options
      : {};
  const shown = optionsText(taskOf(tasks, scene.task), scene.options);
  // the task is in the field below, unless another one is being chosen there
  const now = [
    ...(wanted === scene.task ? [] : [taskOf(tasks, scene.task)?.title ?? scene.task]),
    `seed ${scene.seed}`,
    ...(shown ? [shown] : []),
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
            onClick={() => void fresh.begin({ task: wanted, seed: next, options }).then((done) => done && setSeed(""))}
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
          data={tasks.map(({ name, title }) => ({ value: name, label: title }))}
          value={wanted}
          onChange={(chosen) => {
            setTask(chosen);
            setChanged({}); // another task's options are others, also where they have the same name
          }}
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
      {wantedTask && wantedTask.fields.length > 0 && (
        <SceneOptions fields={wantedTask.fields} value={options} onChange={setChanged} disabled={!operator} />
      )}
      {scene.trouble && (
        <Text size="xs" c="red" mt={6} role="alert" data-testid="live-scene-trouble">
          {scene.trouble}
        </Text>
      )}
      <ErrorNote error={fresh.error} />
    </section>
  );
}

/** Options of a task, in one line and in the words of the commands: there is no room for sentences. */
function SceneOptions({
  fields,
  value,
  onChange,
  disabled,
}: {
  fields: readonly Field[];
  value: Options;
  onChange: (value: Options) => void;
  disabled: boolean;
}) {
  const set = (field: Field) => (chosen: Value) => onChange({ ...value, [field.name]: chosen });
  return (
    <Group gap="xs" wrap="nowrap" mt={6}>
      {fields.map((field) => {
        const shown = { size: "xs", disabled, "data-testid": `live-${field.name}` } as const;
        const now = value[field.name];
        if (field.kind === "flag")
          return (
            <Tooltip key={field.name} label={field.help}>
              <Switch
                {...shown}
                label={field.label}
                checked={now === true}
                onChange={(event) => set(field)(event.currentTarget.checked)}
              />
            </Tooltip>
          );
        if (field.kind === "choice")
          return (
            <Select
              key={field.name}
              {...shown}
              style={{ flex: "1 1 0" }}
              aria-label={field.label}
              data={field.choices.map(({ value }) => ({ value, label: value.replaceAll("_", " ") }))}
              value={String(now ?? "")}
              onChange={(chosen) => chosen !== null && set(field)(chosen)}
              allowDeselect={false}
            />
          );
        if (field.kind === "text")
          return (
            <TextInput
              key={field.name}
              {...shown}
              style={{ flex: "1 1 0" }}
              aria-label={field.label}
              value={String(now ?? "")}
              onChange={(event) => set(field)(event.currentTarget.value)}
            />
          );
        return (
          <NumberField
            key={field.name}
            {...shown}
            style={{ flex: "1 1 0" }}
            aria-label={field.unit ? `${field.label}, ${field.unit}` : field.label}
            {...boundsOf(field)}
            allowDecimal={field.kind === "number"}
            value={typeof now === "number" ? now : null}
            onChange={set(field)}
            mayBeEmpty={field.optional}
            hideControls
          />
        );
      })}
    </Group>
  );
}
