import { Button, Group, Modal, Stack, Textarea, TextInput } from "@mantine/core";
import { useForm } from "@mantine/form";
import { useNavigate } from "react-router";

import { fieldsOf } from "@/api/client";
import { ErrorNote } from "@/ui/ErrorNote";

import { useChangeDataset, useCreateDataset, type Dataset } from "./core/hooks";

interface Props {
  opened: boolean;
  onClose: () => void;
  /** change this one instead of making a new one */
  dataset?: Dataset;
}

export function NewDatasetDialog({ opened, onClose, dataset }: Props) {
  return (
    <Modal opened={opened} onClose={onClose} title={dataset ? "Name and description" : "New dataset"}>
      {opened && <Form onClose={onClose} dataset={dataset} />}
    </Modal>
  );
}

function Form({ onClose, dataset }: Omit<Props, "opened">) {
  const navigate = useNavigate();
  const create = useCreateDataset();
  const change = useChangeDataset(dataset?.id ?? "");
  const form = useForm({
    initialValues: { name: dataset?.name ?? "", description: dataset?.description ?? "" },
    validate: { name: (value) => (value.trim() ? null : "Give it a name") },
  });
  const error = create.error ?? change.error;

  const submit = form.onSubmit(async (values) => {
    try {
      if (dataset) await change.mutateAsync(values);
      else {
        const made = await create.mutateAsync(values);
        void navigate(`/datasets/${made.id}?tab=import`);
      }
      onClose();
    } catch (problem) {
      form.setErrors(fieldsOf(problem));
    }
  });
  return (
    <form onSubmit={submit} data-testid="dataset-form">
      <Stack>
        <TextInput
          label="Name"
          placeholder="Stack the cups"
          maxLength={128}
          data-autofocus
          data-testid="dataset-name"
          {...form.getInputProps("name")}
        />
        <Textarea
          label="Description"
          description="What the robot does in it, where it was recorded. Optional."
          autosize
          minRows={2}
          maxLength={4000}
          data-testid="dataset-description"
          {...form.getInputProps("description")}
        />
        {Object.keys(fieldsOf(error)).length === 0 && <ErrorNote error={error} />}
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" loading={create.isPending || change.isPending} data-testid="dataset-save">
            {dataset ? "Save" : "Create"}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
