import { Button, Code, Group, Modal, Stack, Text, TextInput } from "@mantine/core";
import { isNotEmpty, useForm } from "@mantine/form";

import { fieldsOf } from "@/api/client";
import { ErrorNote } from "@/ui/ErrorNote";

import { useRegister, type Candidate } from "./core/hooks";
import { MODEL_KINDS } from "./info";

export function RegisterDialog({ candidate, onClose }: { candidate: Candidate | null; onClose: () => void }) {
  return (
    <Modal opened={candidate !== null} onClose={onClose} title="Register a model">
      {candidate && <Form key={candidate.id} candidate={candidate} onClose={onClose} />}
    </Modal>
  );
}

function Form({ candidate, onClose }: { candidate: Candidate; onClose: () => void }) {
  const register = useRegister();
  const form = useForm({
    mode: "uncontrolled",
    initialValues: { name: candidate.folder.split("/").at(-1) ?? candidate.folder },
    validate: { name: isNotEmpty("Give it a name") },
  });
  return (
    <form
      onSubmit={form.onSubmit(({ name }) =>
        register.mutate(
          { candidate_id: candidate.id, name },
          { onSuccess: onClose, onError: (error) => form.setErrors(fieldsOf(error)) },
        ),
      )}
    >
      <Stack>
        <Text size="sm">
          <Code>
            {candidate.root}/{candidate.folder}
          </Code>{" "}
          looks like a {MODEL_KINDS[candidate.kind].label}: {MODEL_KINDS[candidate.kind].use.toLowerCase()}. Its files
          stay where they are.
        </Text>
        <TextInput
          label="Name"
          data-autofocus
          data-testid="register-name"
          key={form.key("name")}
          {...form.getInputProps("name")}
        />
        <ErrorNote error={register.error} />
        <Group justify="flex-end">
          <Button variant="default" onClick={onClose}>
            Cancel
          </Button>
          <Button type="submit" loading={register.isPending} data-testid="register-submit">
            Register
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
