import { Button, Checkbox, Group, Loader, Modal, NumberInput, Select, Stack, Text, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useState } from "react";
import { Link } from "react-router";

import { fieldsOf, type Schema } from "@/api/client";
import { PickFields } from "@/features/robots/core/PickFields";
import { pickOf, TRAINING_PICK, type Task } from "@/features/robots/core/tasks";
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

const TASKS: { value: Task; label: string; name: string }[] = [
  { value: "transfer_cube", label: "Transfer the cube from arm to arm", name: "Demo: transfer the cube" },
  { value: "insertion", label: "Put the peg into the socket", name: "Demo: insertion" },
  { value: "pick_colour", label: "Pick up the cube that the instruction names", name: "Demo: pick a colour" },
];

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
  if (job) return <Recording first={job} onClose={onClose} />;
  if (dataset?.cover_episode_id && cover.data === undefined && cover.error === null) return <Loader m="xl" />;
  return <Form onStarted={setJob} onClose={onClose} dataset={dataset} like={cover.data} />;
}

function Form({
  onStarted,
  onClose,
  dataset,
  like,
}: Omit<Props, "opened"> & { onStarted: (job: Schema<"JobOut">) => void; like: Episode | undefined }) {
  const record = useRecordDemo();
  const camera = like?.cameras[0];
  const size = camera ? `${camera.height}x${camera.width}` : "240x320";
  const form = useForm({
    initialValues: {
      name: dataset?.name ?? "Demo: transfer the cube",
      task: TASKS.find(({ value }) => value === like?.task)?.value ?? "transfer_cube",
      pick: TRAINING_PICK,
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

  const submit = form.onSubmit(async ({ size, recovers, recovery, ...values }) => {
    const [height = 240, width = 320] = size.split("x").map(Number);
    try {
      onStarted(
        await record.mutateAsync({
          ...values,
          pick: pickOf(values.task, values.pick),
          recovery: recovers ? recovery : null,
          dataset_id: dataset?.id ?? null,
          height,
          width,
        }),
      );
    } catch (problem) {
      form.setErrors(fieldsOf(problem));
    }
  });

  const changeTask = (value: string | null) => {
    const task = TASKS.find((each) => each.value === value);
    if (!task) return;
    if (TASKS.some((each) => each.name === form.values.name)) form.setFieldValue("name", task.name);
    form.setFieldValue("task", task.value);
  };
  return (
    <form onSubmit={submit} data-testid="demo-form">
      <Stack>
        <Text size="sm" c="dimmed">
          A scripted expert does the task in the simulated ALOHA, each time with the objects elsewhere. Takes a few
          seconds an episode; nothing else is needed.
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
        <Select
          label="Task"
          data={TASKS}
          allowDeselect={false}
          data-testid="demo-task"
          {...form.getInputProps("task")}
          onChange={changeTask}
        />
        {form.values.task === "pick_colour" && (
          <PickFields value={form.values.pick} onChange={(pick) => form.setFieldValue("pick", pick)} name="demo" />
        )}
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
            label="Size of the pictures"
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
        <RecoveryFields
          on={form.values.recovers}
          onSwitch={(on) => form.setFieldValue("recovers", on)}
          value={form.values.recovery}
          onChange={(recovery) => form.setFieldValue("recovery", recovery)}
        />
        <Checkbox
          label="Keep the expert's substeps as proposals"
          description="You review and publish them instead of labelling from nothing."
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
