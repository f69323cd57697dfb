import { Alert, Anchor, Group, Select, SimpleGrid, Stack, Text } from "@mantine/core";
import { IconInfoCircle } from "@tabler/icons-react";
import { useEffect, useEffectEvent, useState } from "react";
import { Link } from "react-router";

import { CheckpointSelect } from "@/features/checkpoints/core/CheckpointSelect";
import { useSomeCheckpoints } from "@/features/checkpoints/core/hooks";
import { useJob } from "@/features/jobs/core/hooks";
import type { Model } from "@/features/base_models/core/hooks";
import { TinyModelDialog } from "@/features/base_models/core/TinyModelDialog";
import { formatBytes } from "@/ui/format";
import { JobProgress } from "@/ui/JobProgress";
import { RoleButton } from "@/ui/RoleButton";
import { Section } from "@/ui/Section";

import type { DraftForm } from "./useDraft";

interface Props {
  draft: DraftForm;
  models: readonly Model[];
  errors: Record<string, string>;
}

/** What the weights are before the first step. */
export function StartChoice(props: Props) {
  return props.draft.draft.stage === 2 ? <FromModel {...props} /> : <FromCheckpoint {...props} />;
}

function option(model: Model) {
  return {
    value: model.id,
    label: `${model.name} (${formatBytes(model.size_bytes)})${model.available ? "" : ", files are gone"}`,
    disabled: !model.available,
  };
}

function FromModel({ draft, models, errors }: Props) {
  const [making, setMaking] = useState(false);
  const [jobId, setJobId] = useState<string | null>(null);
  const backbones = models.filter(({ kind }) => kind === "backbone");
  const experts = models.filter(({ kind }) => kind === "expert" || kind === "policy");
  const choose = (id: string) => {
    setJobId(null);
    draft.change({ base_model_id: id });
  };
  return (
    <Section
      title="Start from"
      description="A vision-language model, and weights for the action expert if there are any."
      data-testid="run-start"
      actions={
        <RoleButton
          needs="operator"
          size="xs"
          variant={backbones.length === 0 ? "filled" : "subtle"}
          onClick={() => setMaking(true)}
          data-testid="make-tiny"
          because={jobId !== null ? "One is being made already." : null}
        >
          Make a tiny one
        </RoleButton>
      }
    >
      <TinyModelDialog opened={making} onClose={() => setMaking(false)} onStarted={(job) => setJobId(job.id)} />
      <Stack gap="sm">
        {jobId !== null && <Making jobId={jobId} models={models} whenThere={choose} />}
        {backbones.length === 0 && jobId === null ? (
          <Alert icon={<IconInfoCircle size={18} />} title="No base model yet">
            <Text size="sm">
              Make a tiny one with random weights to try everything out in minutes, or register a real Qwen2-VL-2B on
              the page{" "}
              <Anchor component={Link} to="/models" size="sm">
                Base models
              </Anchor>
              .
            </Text>
            {errors.base_model_id && (
              <Text size="sm" c="red" mt={4} role="alert">
                {errors.base_model_id}
              </Text>
            )}
          </Alert>
        ) : (
          <SimpleGrid cols={{ base: 1, sm: 2 }}>
            <Select
              label="Base model"
              placeholder="Choose one"
              data={backbones.map(option)}
              value={draft.draft.base_model_id}
              onChange={(value) => draft.change({ base_model_id: value })}
              allowDeselect={false}
              error={errors.base_model_id}
              data-testid="base-model"
            />
            <Select
              label="Pretrained expert"
              description={
                experts.length === 0
                  ? "None is registered; the expert starts from fresh weights."
                  : "Optional. Without one the expert starts from fresh weights."
              }
              inputWrapperOrder={["label", "input", "description", "error"]}
              placeholder="Fresh weights"
              data={experts.map(option)}
              value={draft.draft.expert_id}
              onChange={(value) => draft.change({ expert_id: value })}
              clearable
              disabled={experts.length === 0}
              error={errors.expert_id}
              data-testid="expert"
            />
          </SimpleGrid>
        )}
      </Stack>
    </Section>
  );
}

/** Progress of the tiny model; chosen as soon as it is there. */
function Making({
  jobId,
  models,
  whenThere,
}: {
  jobId: string;
  models: readonly Model[];
  whenThere: (id: string) => void;
}) {
  const job = useJob(jobId).data;
  const made = job?.state === "done" ? models.find(({ id }) => id === job.subject_id) : undefined;
  const there = useEffectEvent(whenThere);
  const id = made?.id;
  useEffect(() => {
    if (id !== undefined) there(id);
  }, [id]);
  return job ? <JobProgress job={job} titled /> : null;
}

const POLICY = "policy:";

function FromCheckpoint({ draft, models, errors }: Props) {
  const { checkpoint_id, base_model_id } = draft.draft;
  const any = useSomeCheckpoints("", 1).data;
  const policies = models
    .filter(({ kind }) => kind === "policy")
    .map(option)
    .map(({ value, label, disabled }) => ({ value: POLICY + value, label: `Registered policy ${label}`, disabled }));
  return (
    <Section
      title="Start from"
      description="A checkpoint of stage 2, or of stage 3 to go on with more data."
      data-testid="run-start"
    >
      {any?.total === 0 && policies.length === 0 ? (
        <Alert icon={<IconInfoCircle size={18} />} title="No checkpoint yet">
          <Group gap={6}>
            Stage 3 goes on from a checkpoint of stage 2.
            <Anchor component="button" type="button" size="sm" onClick={() => draft.setStage(2)}>
              Train stage 2 first
            </Anchor>
          </Group>
        </Alert>
      ) : (
        <CheckpointSelect
          aria-label="Checkpoint"
          placeholder="Choose a checkpoint"
          detailed
          below={policies}
          value={checkpoint_id ?? (base_model_id && POLICY + base_model_id)}
          onChange={(next) => {
            if (next?.startsWith(POLICY))
              draft.change({ checkpoint_id: null, base_model_id: next.slice(POLICY.length) });
            else if (next) draft.change({ checkpoint_id: next, base_model_id: null });
          }}
          allowDeselect={false}
          error={errors.checkpoint_id ?? errors.base_model_id}
          data-testid="checkpoint"
        />
      )}
    </Section>
  );
}
