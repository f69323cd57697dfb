import {
  Alert,
  Anchor,
  Card,
  Collapse,
  Group,
  NumberInput,
  Radio,
  Select,
  SimpleGrid,
  Skeleton,
  Stack,
  Switch,
  Text,
  Textarea,
} from "@mantine/core";
import { useForm } from "@mantine/form";
import { useQuery } from "@tanstack/react-query";
import { IconInfoCircle, IconPlayerPlay } from "@tabler/icons-react";
import { useState } from "react";
import { Link, useLocation, useNavigate, useSearchParams } from "react-router";

import { fieldsOf } from "@/api/client";
import { queryClient } from "@/api/queries";
import { CheckpointSelect } from "@/features/checkpoints/core/CheckpointSelect";
import { checkpointQuery, useCheckpoint, useSomeCheckpoints, type Checkpoint } from "@/features/checkpoints/core/hooks";
import classes from "@/features/training/core/Choices.module.css";
import { useVersions, type Version } from "@/features/datasets/core/versions";
import { ErrorNote } from "@/ui/ErrorNote";
import { plural } from "@/ui/format";
import { Loaded } from "@/ui/Loaded";
import { PageHeader } from "@/ui/PageHeader";
import { RoleButton } from "@/ui/RoleButton";
import { Section } from "@/ui/Section";

import { asBefore, request, robotFor, tasksOf, type Again, type Kind, type Values } from "./form";
import { useStartEvaluation } from "./core/hooks";
import { OptionFields } from "@/features/robots/core/OptionFields";
import { seedsText } from "./core/report";
import { fieldsAsked, kindsQuery, optionsOf, taskOf, type RobotKind } from "@/features/robots/core/tasks";

const KINDS = {
  closed_loop: {
    title: "Closed loop",
    text: "The policy acts in the simulator on seeds it has not seen. Gives a success rate, and a video of every episode.",
  },
  open_loop: {
    title: "Open loop",
    text: "Replays recorded episodes and compares what the policy would do with what was done. Quick, needs no robot.",
  },
} as const satisfies Record<Kind, { title: string; text: string }>;

const ORDER: ("label" | "input" | "description" | "error")[] = ["label", "input", "description", "error"];

export function NewEvaluationPage() {
  const [search] = useSearchParams();
  const asked = search.get("checkpoint");
  const newest = useSomeCheckpoints("", 1);
  const named = useCheckpoint(asked);
  const versions = useVersions();
  const kinds = useQuery(kindsQuery);
  return (
    <>
      <PageHeader
        title="New evaluation"
        path={[{ label: "Evaluations", to: "/evaluations" }]}
        subtitle="How good is a checkpoint?"
      />
      <Loaded query={newest} lines={6}>
        {({ items, total }) =>
          total === 0 ? (
            <Alert icon={<IconInfoCircle size={18} />} title="No checkpoint yet">
              A training saves checkpoints; start one on the page{" "}
              <Anchor component={Link} to="/training">
                Training
              </Anchor>
              .
            </Alert>
          ) : (
            <Loaded query={versions}>
              {(there) => (
                <Loaded query={kinds}>
                  {(robots) =>
                    asked !== null && named.isPending ? (
                      <Skeleton height={240} />
                    ) : (
                      <Form
                        first={asked === null ? items[0] : named.data}
                        versions={there}
                        kinds={robots}
                        kind={search.get("kind") === "open_loop" ? "open_loop" : "closed_loop"}
                      />
                    )
                  }
                </Loaded>
              )}
            </Loaded>
          )
        }
      </Loaded>
    </>
  );
}

interface FormProps {
  /** that the form opens with */
  first: Checkpoint | undefined;
  versions: readonly Version[];
  kinds: readonly RobotKind[];
  kind: Kind;
}

function Form({ first, versions, kinds, kind }: FormProps) {
  const navigate = useNavigate();
  const { state } = useLocation() as { state: Again | null };
  const start = useStartEvaluation();
  const [more, setMore] = useState(false);
  const form = useForm<Values>({
    initialValues: {
      kind,
      checkpoint_id: first?.id ?? null,
      ...asBefore(state?.settings ?? null, kinds, first?.robot ?? null),
      version_id:
        versions.find(({ id }) => id === state?.version_id)?.id ??
        versions.find(({ id }) => first?.sources.some(({ version_id }) => version_id === id))?.id ??
        null,
    },
    validate: {
      checkpoint_id: (value) => (value === null ? "Choose the checkpoint to evaluate." : null),
      version_id: (value, { kind }) =>
        kind === "open_loop" && value === null ? "Choose the episodes to replay." : null,
      episodes: (value, { kind }) => (kind === "closed_loop" && value === "" ? "How many?" : null),
      seed: (value, { kind }) => (kind === "closed_loop" && value === "" ? "The first seed is needed." : null),
      stride: (value, { kind }) => (kind === "open_loop" && value === "" ? "How many steps?" : null),
    },
  });
  const { values } = form;
  const closed = values.kind === "closed_loop";
  const tasks = tasksOf(kinds, values.robot);
  const task = taskOf(tasks, values.task);
  const fields = fieldsOf(start.error);
  const known = Object.keys(fields).some((field) => field in values);
  return (
    <form
      onSubmit={form.onSubmit((sent) =>
        start.mutate(request(sent, kinds), {
          onSuccess: (made) => void navigate(`/evaluations/${made.id}`),
          onError: (error) => form.setErrors(fieldsOf(error)),
        }),
      )}
    >
      <Stack gap="md" maw={900}>
        <Card>
          <Radio.Group
            aria-label="Kind of evaluation"
            value={values.kind}
            onChange={(value) => {
              start.reset();
              form.setFieldValue("kind", value);
            }}
          >
            <SimpleGrid cols={{ base: 1, sm: 2 }} spacing="sm">
              {Object.entries(KINDS).map(([value, { title, text }]) => (
                <Radio.Card key={value} value={value} p="sm" className={classes.card} data-testid={`kind-${value}`}>
                  <Group wrap="nowrap" align="flex-start" gap="sm">
                    <Radio.Indicator mt={2} />
                    <div>
                      <Text size="sm" fw={600}>
                        {title}
                      </Text>
                      <Text size="xs" c="dimmed" mt={2}>
                        {text}
                      </Text>
                    </div>
                  </Group>
                </Radio.Card>
              ))}
            </SimpleGrid>
          </Radio.Group>
        </Card>
        <Section title="What to evaluate">
          <SimpleGrid cols={{ base: 1, sm: 2 }}>
            <CheckpointSelect
              label="Checkpoint"
              detailed
              allowDeselect={false}
              data-testid="evaluation-checkpoint"
              error={form.errors.checkpoint_id}
              value={values.checkpoint_id}
              onChange={(id) => {
                form.setFieldValue("checkpoint_id", id);
                if (id !== null)
                  queryClient.query(checkpointQuery(id)).then(
                    ({ robot }) => {
                      if (robot !== null && robot !== form.getValues().robot && tasksOf(kinds, robot).length > 0)
                        form.setValues({ ...robotFor(kinds, robot), options: {} });
                    },
                    () => undefined, // it is gone: the server says so when the evaluation is started
                  );
              }}
            />
            {closed ? (
              <Select
                label="Task"
                allowDeselect={false}
                data={tasks.map(({ name, title }) => ({ value: name, label: title }))}
                data-testid="evaluation-task"
                {...form.getInputProps("task")}
                onChange={(task: string | null) => {
                  form.setFieldValue("task", task ?? values.task);
                  form.setFieldValue("options", {}); // another task's options are others, also of the same name
                }}
              />
            ) : (
              <Select
                label="Episodes of"
                searchable
                allowDeselect={false}
                placeholder="Choose a dataset version"
                data={versions.map((version) => ({
                  value: version.id,
                  label: `${version.dataset_name} v${version.number} (${plural(version.episodes, "episode")})`,
                }))}
                data-testid="evaluation-version"
                {...form.getInputProps("version_id")}
              />
            )}
          </SimpleGrid>
          {closed && kinds.length > 1 && (
            <Select
              mt="md"
              label="Robot"
              allowDeselect={false}
              data={kinds.map(({ name, title }) => ({ value: name, label: title }))}
              data-testid="evaluation-robot"
              {...form.getInputProps("robot")}
              onChange={(robot: string | null) => {
                form.setFieldValue("robot", robot ?? values.robot);
                form.setFieldValue("task", tasksOf(kinds, robot ?? "")[0]?.name ?? "");
                form.setFieldValue("options", {});
              }}
            />
          )}
          {closed && task && task.fields.length > 0 && (
            <Stack mt="md" gap="md">
              <OptionFields
                fields={fieldsAsked(task)}
                value={optionsOf(task, values.options)}
                onChange={(options) => form.setFieldValue("options", options)}
                name="evaluation"
                error={form.errors.options}
              />
            </Stack>
          )}
        </Section>
        <Section title="Settings">
          {closed ? (
            <SimpleGrid cols={{ base: 1, sm: 2 }}>
              <NumberInput
                inputWrapperOrder={ORDER}
                label="Episodes"
                description="More make the interval of the success rate narrower"
                min={1}
                max={1000}
                allowDecimal={false}
                data-testid="evaluation-episodes"
                {...form.getInputProps("episodes")}
              />
              <NumberInput
                inputWrapperOrder={ORDER}
                label="First seed"
                description={
                  typeof values.seed === "number" && typeof values.episodes === "number"
                    ? `Seeds ${seedsText(values.seed, values.episodes)}: use some that no demonstration used`
                    : "Use seeds that no demonstration used"
                }
                min={0}
                max={2 ** 31 - 1}
                allowDecimal={false}
                data-testid="evaluation-seed"
                {...form.getInputProps("seed")}
              />
            </SimpleGrid>
          ) : (
            <SimpleGrid cols={{ base: 1, sm: 2 }}>
              <NumberInput
                inputWrapperOrder={ORDER}
                label="Steps between predictions"
                description="Smaller compares more, and takes longer"
                min={1}
                max={1000}
                allowDecimal={false}
                data-testid="evaluation-stride"
                {...form.getInputProps("stride")}
              />
              <Switch
                mt={28}
                label="Held-out episodes only"
                description="Only episodes that the checkpoint was not trained on"
                checked={values.held_out}
                onChange={(event) => form.setFieldValue("held_out", event.currentTarget.checked)}
                error={form.errors.held_out}
                data-testid="evaluation-held-out"
              />
            </SimpleGrid>
          )}
          <Anchor
            component="button"
            type="button"
            size="sm"
            mt="md"
            style={{ alignSelf: "flex-start" }}
            onClick={() => setMore(!more)}
            aria-expanded={more}
            data-testid="evaluation-more"
          >
            {more ? "Fewer settings" : "More settings"}
          </Anchor>
          <Collapse expanded={more}>
            <SimpleGrid cols={{ base: 1, sm: 2 }} mt="sm">
              {closed && (
                <>
                  <NumberInput
                    inputWrapperOrder={ORDER}
                    label="Longest episode, steps"
                    placeholder="the task's own"
                    min={1}
                    max={20_000}
                    allowDecimal={false}
                    data-testid="evaluation-max-steps"
                    {...form.getInputProps("max_steps")}
                  />
                  <NumberInput
                    inputWrapperOrder={ORDER}
                    label="Executed steps of a chunk"
                    description="Then the policy is asked again"
                    placeholder="16, or the chunk if it is shorter"
                    min={1}
                    max={1000}
                    allowDecimal={false}
                    data-testid="evaluation-execute-steps"
                    {...form.getInputProps("execute_steps")}
                  />
                </>
              )}
              <NumberInput
                inputWrapperOrder={ORDER}
                label="DDIM steps"
                description="Denoising steps of an action chunk"
                placeholder="the checkpoint's own"
                min={1}
                max={1000}
                allowDecimal={false}
                {...form.getInputProps("inference_steps")}
              />
            </SimpleGrid>
            {closed && (
              <Textarea
                mt="sm"
                label="Instruction"
                placeholder="the task's own"
                autosize
                minRows={1}
                maxLength={1000}
                data-testid="evaluation-instruction"
                {...form.getInputProps("instruction")}
              />
            )}
          </Collapse>
        </Section>
        <ErrorNote error={known ? null : start.error} title="It was not started" />
        <Group>
          <RoleButton
            needs="operator"
            type="submit"
            loading={start.isPending}
            leftSection={<IconPlayerPlay size={16} />}
            data-testid="evaluation-start"
          >
            Start the evaluation
          </RoleButton>
        </Group>
      </Stack>
    </form>
  );
}
