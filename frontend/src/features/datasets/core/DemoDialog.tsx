import { Button, Checkbox, Group, Loader, Modal, NumberInput, Select, Stack, Text, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "react-router";

import { fieldsOf, type Schema } from "@/api/client";
import { OptionFields } from "@/features/robots/core/OptionFields";
import {
  fieldsAsked,
  kindsQuery,
  optionsOf,
  taskOf,
  type Options,
  type RobotKind,
  type Task,
} from "@/features/robots/core/tasks";
import { useEpisode, type Episode } from "@/features/episodes/core/hooks";
import { useJob } from "@/features/jobs/core/hooks";
import { ErrorNote } from "@/ui/ErrorNote";
import { JobProgress } from "@/ui/JobProgress";
import { isOver } from "@/ui/StateBadge";

import { useRecordDemo, type Dataset } from "./hooks";
import { RECOVERY, RecoveryFields } from "./RecoveryFields";

interface Props {
  opened: boolean;
  onClose: () => void;
  /** record into this one instead of a new one */
  dataset?: Dataset;
}

const NOTHING_CHOSEN: Options = {};

const SIZES = [
  { value: "120x160", label: "160 x 120 (fastest)" },
  { value: "240x320", label: "320 x 240" },
  { value: "480x640", label: "640 x 480 (as on the real robot)" },
];

/** Record scripted demonstrations in the simulator, and watch it happen. */
export function DemoDialog({ opened, onClose, dataset }: Props) {
  return (
    <Modal
      opened={opened}
      onClose={onClose}
      title={dataset ? "Record more demonstrations" : "Create a demo dataset"}
      size="lg"
    >
      {opened && <Content onClose={onClose} dataset={dataset} />}
    </Modal>
  );
}

function Content({ onClose, dataset }: Omit<Props, "opened">) {
  const [job, setJob] = useState<Schema<"JobOut"> | null>(null);
  // further recordings look like those that are there
  const cover = useEpisode(dataset?.cover_episode_id);
  const kinds = useQuery(kindsQuery);
  if (job) return <Recording first={job} onClose={onClose} />;
  if (kinds.data === undefined) return kinds.error ? <ErrorNote error={kinds.error} /> : <Loader m="xl" />;
  if (dataset?.cover_episode_id && cover.data === undefined && cover.error === null) return <Loader m="xl" />;
  return <Form onStarted={setJob} onClose={onClose} dataset={dataset} like={cover.data} kinds={kinds.data} />;
}

function Form({
  onStarted,
  onClose,
  dataset,
  like,
  kinds,
}: Omit<Props, "opened"> & {
  onStarted: (job: Schema<"JobOut">) => void;
  like: Episode | undefined;
  kinds: readonly RobotKind[];
}) {
  const record = useRecordDemo();
  const camera = like?.cameras[0];
  const first = kinds.find(({ name }) => name === like?.robot) ?? kinds[0];
  const size = camera ? `${camera.height}x${camera.width}` : "240x320";
  const form = useForm({
    initialValues: {
      name: dataset?.name ?? nameOf(first?.tasks[0]),
      robot: first?.name ?? "aloha_sim",
      task: (first?.tasks.find(({ name }) => name === like?.task) ?? first?.tasks[0])?.name ?? "",
      options: NOTHING_CHOSEN,
      episodes: 5,
      // further recordings begin with other scenes than the first one
      seed: dataset?.episodes ?? 0,
      size,
      labelled: true,
      recovers: false,
      recovery: RECOVERY,
    },
    validate: { name: (value) => (value.trim() ? null : "Give it a name") },
  });

  const robot = kinds.find(({ name }) => name === form.values.robot);
  const task = taskOf(robot?.tasks ?? [], form.values.task);
  const submit = form.onSubmit(async ({ size, recovers, recovery, ...values }) => {
    const [height = 240, width = 320] = size.split("x").map(Number);
    try {
      onStarted(
        await record.mutateAsync({
          ...values,
          options: optionsOf(task, values.options, true),
          recovery: recovers && robot?.recovers ? recovery : null,
          dataset_id: dataset?.id ?? null,
          height,
          width,
        }),
      );
    } catch (problem) {
      form.setErrors(fieldsOf(problem));
    }
  });

  const choose = (wanted: Task) => {
    const proposed = kinds.flatMap(({ tasks }) => tasks.map(nameOf));
    if (!dataset && proposed.includes(form.values.name)) form.setFieldValue("name", nameOf(wanted));
    form.setFieldValue("task", wanted.name);
    form.setFieldValue("options", NOTHING_CHOSEN); // another task's options are others, also of the same name
  };
  const changeRobot = (value: string | null) => {
    const wanted = kinds.find(({ name }) => name === value);
    if (!wanted?.tasks[0]) return;
    form.setFieldValue("robot", wanted.name);
    choose(wanted.tasks[0]);
  };
  const changeTask = (value: string | null) => {
    const wanted = robot?.tasks.find(({ name }) => name === value);
    if (wanted) choose(wanted);
  };
  return (
    <form onSubmit={submit} data-testid="demo-form">
      <Stack>
        <Text size="sm" c="dimmed">
          A scripted expert does the task with the {robot?.title ?? "simulated robot"}, each time with the objects in
          other places. Takes a few seconds per episode; nothing else is needed.
        </Text>
        {!dataset && (
          <TextInput
            label="Name of the dataset"
            maxLength={128}
            data-autofocus
            data-testid="demo-name"
            {...form.getInputProps("name")}
          />
        )}
        {kinds.length > 1 && (
          <Select
            label="Robot"
            data={kinds.map(({ name, title }) => ({ value: name, label: title }))}
            allowDeselect={false}
            data-testid="demo-robot"
            {...form.getInputProps("robot")}
            onChange={changeRobot}
          />
        )}
        <Select
          label="Task"
          data={(robot?.tasks ?? []).map(({ name, title }) => ({ value: name, label: title }))}
          allowDeselect={false}
          data-testid="demo-task"
          {...form.getInputProps("task")}
          onChange={changeTask}
        />
        <OptionFields
          fields={fieldsAsked(task, true)}
          value={optionsOf(task, form.values.options, true)}
          onChange={(options) => form.setFieldValue("options", options)}
          name="demo"
          error={form.errors.options}
        />
        <Group grow align="flex-start">
          <NumberInput
            label="Episodes"
            min={1}
            max={500}
            allowDecimal={false}
            data-testid="demo-episodes"
            {...form.getInputProps("episodes")}
          />
          <Select
            label="Size of the images"
            data={SIZES.some(({ value }) => value === size) ? SIZES : [...SIZES, { value: size, label: size }]}
            allowDeselect={false}
            data-testid="demo-size"
            {...form.getInputProps("size")}
          />
          <NumberInput
            label="Seed"
            min={0}
            max={2 ** 31 - 1}
            allowDecimal={false}
            data-testid="demo-seed"
            {...form.getInputProps("seed")}
          />
        </Group>
        {robot?.recovers && (
          <RecoveryFields
            on={form.values.recovers}
            onSwitch={(on) => form.setFieldValue("recovers", on)}
            value={form.values.recovery}
            onChange={(recovery) => form.setFieldValue("recovery", recovery)}
          />
        )}
        <Checkbox
          label="Keep the expert's substeps as proposals"
          description="You review and publish them instead of labelling from scratch."
          data-testid="demo-labelled"
          {...form.getInputProps("labelled", { type: "checkbox" })}
        />
        {Object.keys(fieldsOf(record.error)).length === 0 && <ErrorNote error={record.error} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" loading={record.isPending} data-testid="demo-start">
            Record
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

/** Proposed for a dataset of a task's demonstrations. */
function nameOf(task: Task | undefined): string {
  return task?.dataset ?? `Demo: ${task?.title.toLowerCase() ?? "demonstrations"}`;
}

function Recording({ first, onClose }: { first: Schema<"JobOut">; onClose: () => void }) {
  const query = useJob(first.id);
  const job = query.data ?? first;
  const over = isOver(job.state);
  return (
    <Stack data-testid="demo-progress" data-state={job.state}>
      <JobProgress job={job} titled />
      <ErrorNote error={query.error} />
      <Text size="sm" c="dimmed">
        {over
          ? "Next: open the dataset, look at an episode and publish its substeps."
          : "You may close this; the recording goes on. Episodes appear in the dataset as they are finished."}
      </Text>
      <Group justify="flex-end">
        <Button variant="default" onClick={onClose}>
          Close
        </Button>
        {job.subject_id && (
          <Button
            component={Link}
            to={`/datasets/${job.subject_id}`}
            onClick={onClose}
            data-testid="demo-open-dataset"
            variant={over ? "filled" : "light"}
          >
            Open the dataset
          </Button>
        )}
      </Group>
    </Stack>
  );
}
