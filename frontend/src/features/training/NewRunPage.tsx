import { Box, Button, Grid, TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useState, type ReactNode } from "react";
import { useNavigate, useSearchParams } from "react-router";

import { fieldsOf } from "@/api/client";
import { useCan } from "@/api/queries";
import { useCheckpoint, type Checkpoint } from "@/features/checkpoints/core/hooks";
import { useModels, type Model } from "@/features/base_models/core/hooks";
import { ErrorNote } from "@/ui/ErrorNote";
import { Loaded } from "@/ui/Loaded";
import { PageHeader } from "@/ui/PageHeader";
import { Section } from "@/ui/Section";

import { CheckPanel } from "./CheckPanel";
import { PresetChoice, StageChoice } from "./Choices";
import { DataChoice } from "./DataChoice";
import { Fields } from "./Fields";
import { parse } from "./fieldText";
import { EMPTY_DRAFT, fromRequest, missing, suggestName, toRequest, type Draft, type TrainForm } from "./form";
import { useRun, useRunCheck, useStartRun, useTrainForm } from "./hooks";
import { useVersions, type Version } from "@/features/datasets/core/versions";
import { StartChoice } from "./StartChoice";
import { useDraft } from "./useDraft";

interface Parts {
  form: TrainForm;
  versions: Version[];
  models: Model[];
}

/** New run; ?copy=RUN fills in that run's choices, ?checkpoint=ID starts stage 3 from it, ?version=ID trains on it. */
export function NewRunPage() {
  const [search] = useSearchParams();
  const copy = search.get("copy");
  const form = useTrainForm();
  const versions = useVersions();
  const models = useModels();
  const start = search.get("checkpoint");
  const checkpoint = useCheckpoint(start);
  const copied = useRun(copy ?? "", copy !== null);
  const error = versions.error ?? models.error ?? (copy === null ? null : copied.error);
  const header = (
    <PageHeader
      title={copy === null ? "New run" : `Copy of ${copied.data?.name ?? "a run"}`}
      path={[{ label: "Training", to: "/training" }]}
      subtitle="Choose what it learns from and where it starts; everything else is filled in."
    />
  );
  const waits = [copy !== null && copied, start !== null && checkpoint].some((one) => one && one.isPending);
  return (
    <Loaded query={form} lines={8}>
      {(fields) =>
        error !== null || !versions.data || !models.data || waits ? (
          <>
            {header}
            <ErrorNote error={error} />
          </>
        ) : (
          <NewRun
            key={search.toString()}
            storage={`studio-new-run?${search.toString()}`}
            initial={begin(search, versions.data, models.data, checkpoint.data, copied.data?.request)}
            form={fields}
            versions={versions.data}
            models={models.data}
            header={header}
          />
        )
      }
    </Loaded>
  );
}

/** The draft that the page opens with. Where there is only one thing to choose, it is chosen. */
function begin(
  search: URLSearchParams,
  versions: readonly Version[],
  models: readonly Model[],
  from: Checkpoint | undefined,
  request: Record<string, unknown> | undefined,
): Draft {
  if (request) return fromRequest(request);
  const version = versions.find(({ id }) => id === search.get("version"));
  const backbones = models.filter(({ kind, available }) => kind === "backbone" && available);
  const only = version ?? (versions.length === 1 ? versions[0] : undefined);
  return {
    ...EMPTY_DRAFT,
    stage: from ? 3 : 2,
    sources: only ? [{ version_id: only.id, weight: 1 }] : [],
    checkpoint_id: from?.id ?? null,
    base_model_id: !from && backbones.length === 1 ? (backbones[0]?.id ?? null) : null,
  };
}

/** What is wrong with texts that are no value, by path. */
function complaints(form: TrainForm, invalid: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    form.fields.flatMap((field) => {
      const text = invalid[field.path];
      const parsed = text === undefined ? null : parse(field, text);
      return parsed && "error" in parsed ? [[field.path, parsed.error]] : [];
    }),
  );
}

function NewRun({
  form,
  versions,
  models,
  initial,
  storage,
  header,
}: Parts & { initial: Draft; storage: string; header: ReactNode }) {
  const draft = useDraft(form, initial, storage);
  const [tried, setTried] = useState(false);
  const navigate = useNavigate();
  const start = useStartRun();
  const can = useCan("operator");

  const chosen = versions.filter(({ id }) => draft.draft.sources.some(({ version_id }) => version_id === id));
  const name = draft.draft.name ?? suggestName(chosen[0]?.dataset_name, draft.draft.stage);
  const body = toRequest(form, draft.draft, name.trim());
  const [settled] = useDebouncedValue(body, 400);
  const lacking = missing(draft.draft, name.trim());
  const sendable = can && !lacking.name && !lacking.sources && Object.keys(draft.invalid).length === 0;
  const check = useRunCheck(settled, sendable);
  const current = JSON.stringify(settled) === JSON.stringify(body);
  const answer = sendable && check.data && !check.isPlaceholderData && current ? check.data : undefined;

  // what was refused is told until something is changed
  const refused = JSON.stringify(start.variables) === JSON.stringify(body) ? start.error : null;

  // what is merely missing is no mistake until somebody tried to start
  const server = { ...(sendable ? check.data?.errors : {}), ...fieldsOf(check.error), ...fieldsOf(refused) };
  const wrong = Object.fromEntries(Object.entries(server).filter(([path]) => !(path in lacking)));
  const invalid = complaints(form, draft.invalid);
  const shown = tried ? { ...lacking, ...wrong } : wrong;
  const cameras = [...new Set(chosen.flatMap((version) => version.cameras))];

  const go = () => {
    setTried(true);
    start.mutate(body, {
      onSuccess: (run) => {
        draft.done();
        void navigate(`/training/${run.id}`);
      },
    });
  };

  return (
    <>
      {header}
      <Grid gap="md" align="flex-start">
        <Grid.Col span={{ base: 12, md: 8, xl: 8.5 }}>
          <Box style={{ display: "grid", gap: "var(--mantine-spacing-md)" }}>
            <StageChoice form={form} draft={draft} />
            <DataChoice draft={draft} versions={versions} errors={shown} />
            <StartChoice draft={draft} models={models} errors={shown} />
            <PresetChoice form={form} draft={draft} />
            <Section title="Name" description="What it is called in lists, and its files when they are downloaded.">
              <TextInput
                aria-label="Name of the run"
                value={name}
                error={lacking.name ?? shown.name}
                onChange={(event) => draft.change({ name: event.currentTarget.value })}
                maw={480}
                data-testid="run-name"
              />
            </Section>
            <Fields form={form} draft={draft} errors={shown} cameras={cameras} />
          </Box>
        </Grid.Col>
        <Grid.Col
          span={{ base: 12, md: 4, xl: 3.5 }}
          style={{ position: "sticky", top: 16, maxHeight: "calc(100vh - 32px)", overflowY: "auto" }}
        >
          <CheckPanel
            form={form}
            body={body}
            missing={Object.values(lacking)}
            errors={{ ...wrong, ...invalid }}
            check={lacking.name || lacking.sources ? undefined : check.data}
            checking={sendable && (check.isFetching || answer === undefined)}
            problem={Object.keys(fieldsOf(refused)).length > 0 ? null : refused}
            starting={start.isPending}
            start={go}
          />
          <Button variant="subtle" color="gray" size="xs" mt="xs" onClick={draft.startOver} data-testid="start-over">
            Start over
          </Button>
        </Grid.Col>
      </Grid>
    </>
  );
}
