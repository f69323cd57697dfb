import { Checkbox, Group, NumberInput, Select, Stack } from "@mantine/core";
import { useForm } from "@mantine/form";

import { fieldsOf } from "@/api/client";
import { useCan } from "@/api/queries";
import { notifyDone } from "@/ui/confirm";
import { ErrorNote } from "@/ui/ErrorNote";
import { Loaded } from "@/ui/Loaded";
import { RoleButton } from "@/ui/RoleButton";
import { Section } from "@/ui/Section";

import { useChangeLabelling, useLabelling, type Labelling } from "@/features/labels/core/hooks";
import { useLabelledDataset } from "@/features/labels/core/dataset";

const REVIEWERS = [
  { value: "annotator", label: "annotators and above" },
  { value: "operator", label: "operators and above" },
  { value: "admin", label: "administrators" },
];

/** How the dataset is labelled. */
export function SettingsPage() {
  const dataset = useLabelledDataset();
  const query = useLabelling(dataset.id);
  return <Loaded query={query}>{(labelling) => <Form datasetId={dataset.id} labelling={labelling} />}</Loaded>;
}

function Form({ datasetId, labelling }: { datasetId: string; labelling: Labelling }) {
  const change = useChangeLabelling(datasetId);
  const may = useCan("operator");
  const { review, reviewer_role, double_percent, plan_tier, short_seconds, long_seconds } = labelling;
  const form = useForm({
    initialValues: { review, reviewer_role, double_percent, plan_tier, short_seconds, long_seconds },
    validate: {
      long_seconds: (value, { short_seconds: short }) => (value > short ? null : "more than the first"),
    },
  });
  const box = (name: "review" | "plan_tier") => form.getInputProps(name, { type: "checkbox" });
  return (
    <Section title="How this dataset is labelled">
      <form
        onSubmit={form.onSubmit((values) =>
          change.mutate(values, {
            onSuccess: () => {
              form.resetDirty();
              notifyDone("Saved.");
            },
            onError: (error) => form.setErrors(fieldsOf(error)),
          }),
        )}
      >
        <Stack gap="md" maw={720}>
          <Checkbox
            {...box("plan_tier")}
            disabled={!may}
            label="A second text over the same steps: the plan"
            description="For example the high-level goal of each stretch. It is labelled on its own and goes into dataset versions."
            data-testid="settings-plan"
          />
          <Checkbox
            {...box("review")}
            disabled={!may}
            label="Somebody else approves labels before they are published"
            data-testid="settings-review"
          />
          <Group gap="md" align="flex-start">
            <Select
              {...form.getInputProps("reviewer_role")}
              disabled={!may || !form.values.review}
              label="Who approves"
              data={REVIEWERS}
              allowDeselect={false}
              data-testid="settings-reviewers"
            />
            <NumberInput
              {...form.getInputProps("double_percent")}
              disabled={!may}
              label="Labelled twice, %"
              description="By a second person who does not see the first labels"
              min={0}
              max={100}
              data-testid="settings-double"
            />
          </Group>
          <Group gap="md" align="flex-start">
            <NumberInput
              {...form.getInputProps("short_seconds")}
              disabled={!may}
              label="Short is under, seconds"
              min={0}
              max={60}
              step={0.1}
              decimalScale={2}
              data-testid="settings-short"
            />
            <NumberInput
              {...form.getInputProps("long_seconds")}
              disabled={!may}
              label="Long is over, seconds"
              min={0.1}
              max={3600}
              decimalScale={2}
              data-testid="settings-long"
            />
          </Group>
          <ErrorNote error={change.error} />
          <Group>
            <RoleButton
              type="submit"
              needs="operator"
              loading={change.isPending}
              disabled={!form.isDirty()}
              data-testid="settings-save"
            >
              Save
            </RoleButton>
          </Group>
        </Stack>
      </form>
    </Section>
  );
}
