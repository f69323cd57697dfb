import { Button, Checkbox, Group, Modal, NumberInput, Select, SimpleGrid, Stack, Text, TextInput } from "@mantine/core";
import { isNotEmpty, useForm } from "@mantine/form";
import { useMutation } from "@tanstack/react-query";

import { api, fieldsOf, ok, type Schema } from "@/api/client";
import { queryClient } from "@/api/queries";
import { ErrorNote } from "@/ui/ErrorNote";

import { DEMO_TASKS, estimateDemo, PICTURE_SIZES } from "./demo";

interface Props {
  opened: boolean;
  onClose: () => void;
  onStarted?: (job: Schema<"JobOut">) => void;
  /** record into this dataset instead of a new one */
  dataset?: { id: string; name: string };
}

/** Record scripted demonstrations in the simulated ALOHA. */
export function DemoDialog({ opened, onClose, onStarted, dataset }: Props) {
  return (
    <Modal
      opened={opened}
      onClose={onClose}
      title={dataset ? `Record demonstrations into ${dataset.name}` : "Make a demo dataset"}
      size="lg"
    >
      <Form onClose={onClose} onStarted={onStarted} dataset={dataset} />
    </Modal>
  );
}

function Form({ onClose, onStarted, dataset }: Omit<Props, "opened">) {
  const record = useMutation({
    mutationFn: (body: Schema<"DemoIn">) => ok(api.POST("/api/datasets/demo", { body })),
    onSuccess: () => {
      for (const topic of ["job", "dataset"]) void queryClient.invalidateQueries({ queryKey: [topic] });
    },
  });
  const form = useForm({
    initialValues: {
      name: DEMO_TASKS[0].name,
      task: DEMO_TASKS[0].value,
      episodes: 5 as number | string,
      size: PICTURE_SIZES[1].value,
      seed: 0 as number | string,
      labelled: true,
    },
    validate: {
      name: isNotEmpty("Give it a name"),
      episodes: (value) => (typeof value === "number" ? null : "How many? 1 to 500"),
      seed: (value) => (typeof value === "number" ? null : "A whole number, for example 0"),
    },
  });
  const { name, task, episodes, size, seed, labelled } = form.values;
  const picture = PICTURE_SIZES.find(({ value }) => value === size) ?? PICTURE_SIZES[1];
  const about = DEMO_TASKS.find(({ value }) => value === task);

  const submit = () =>
    record.mutate(
      {
        name: name.trim(),
        dataset_id: dataset?.id ?? null,
        task,
        episodes: Number(episodes),
        seed: Number(seed),
        height: picture.height,
        width: picture.width,
        labelled,
      },
      {
        onSuccess: (job) => {
          onStarted?.(job);
          onClose();
        },
        onError: (error) => form.setErrors(fieldsOf(error)),
      },
    );

  return (
    <form onSubmit={form.onSubmit(submit)} data-testid="demo-form">
      <Stack>
        <Select
          label="Task"
          description={about?.help}
          allowDeselect={false}
          data={DEMO_TASKS.map(({ value, label }) => ({ value, label }))}
          data-testid="demo-task"
          value={task}
          onChange={(value) => {
            const chosen = DEMO_TASKS.find((each) => each.value === value);
            if (!chosen) return;
            if (DEMO_TASKS.some((each) => each.name === name)) form.setFieldValue("name", chosen.name);
            form.setFieldValue("task", chosen.value);
          }}
        />
        {!dataset && <TextInput label="Name of the dataset" data-testid="demo-name" {...form.getInputProps("name")} />}
        <SimpleGrid cols={{ base: 1, xs: 3 }}>
          <NumberInput
            label="Episodes"
            min={1}
            max={500}
            allowDecimal={false}
            data-testid="demo-episodes"
            {...form.getInputProps("episodes")}
          />
          <Select
            label="Picture size"
            allowDeselect={false}
            data={PICTURE_SIZES.map(({ value, label }) => ({ value, label }))}
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
        </SimpleGrid>
        <Checkbox
          label="Keep the expert's own substeps as proposals"
          description="They stand in the timeline until somebody publishes them; without, you label from nothing."
          data-testid="demo-labelled"
          {...form.getInputProps("labelled", { type: "checkbox" })}
        />
        <ErrorNote error={record.error} />
        <Group justify="space-between">
          <Text size="sm" c="dimmed">
            {estimateDemo(Number(episodes), picture)}
          </Text>
          <Group gap="xs">
            <Button variant="default" onClick={onClose}>
              Cancel
            </Button>
            <Button type="submit" loading={record.isPending} data-testid="demo-submit">
              Record
            </Button>
          </Group>
        </Group>
      </Stack>
    </form>
  );
}
