import { Button, Group, Modal, NumberInput, Stack, Text, TextInput } from "@mantine/core";
import { isNotEmpty, useForm } from "@mantine/form";

import { fieldsOf, type Schema } from "@/api/client";
import { ErrorNote } from "@/ui/ErrorNote";

import { useMakeTiny } from "./hooks";

interface Props {
  opened: boolean;
  onClose: () => void;
  onStarted?: (job: Schema<"JobOut">) => void;
}

/** Make a small base model with random weights, for trying everything out. */
export function TinyModelDialog({ opened, onClose, onStarted }: Props) {
  const make = useMakeTiny();
  const form = useForm({
    mode: "uncontrolled",
    initialValues: { name: "Tiny Qwen2-VL", preset: "tiny", seed: 0 },
    validate: { name: isNotEmpty("Give it a name") },
  });
  const close = () => {
    make.reset();
    onClose();
  };
  return (
    <Modal opened={opened} onClose={close} title="Make a tiny base model">
      <form
        onSubmit={form.onSubmit((body) =>
          make.mutate(body, {
            onSuccess: (job) => {
              onStarted?.(job);
              close();
            },
            onError: (error) => form.setErrors(fieldsOf(error)),
          }),
        )}
      >
        <Stack>
          <Text size="sm" c="dimmed">
            A Qwen2-VL with about a million random weights: learns nothing useful, but trains in minutes on a CPU and
            shows every step. For real results register a real Qwen2-VL instead.
          </Text>
          <TextInput label="Name" data-testid="tiny-name" key={form.key("name")} {...form.getInputProps("name")} />
          <NumberInput
            label="Seed"
            description="The same seed gives the same weights"
            min={0}
            max={2 ** 31 - 1}
            allowDecimal={false}
            key={form.key("seed")}
            {...form.getInputProps("seed")}
          />
          <ErrorNote error={make.error} />
          <Group justify="flex-end">
            <Button variant="default" onClick={close}>
              Cancel
            </Button>
            <Button type="submit" loading={make.isPending} data-testid="tiny-submit">
              Make it
            </Button>
          </Group>
        </Stack>
      </form>
    </Modal>
  );
}
