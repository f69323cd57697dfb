import { Alert, Badge, Card, Code, Stack, Text, Tooltip } from "@mantine/core";
import { IconCube, IconInfoCircle, IconPlus } from "@tabler/icons-react";
import { useState } from "react";

import { useCan } from "@/api/queries";
import { useJobs } from "@/features/jobs/core/hooks";
import { JobActions } from "@/features/jobs/core/JobActions";
import { ConfirmButton } from "@/ui/ConfirmButton";
import { DataTable, type Column } from "@/ui/DataTable";
import { EmptyState } from "@/ui/EmptyState";
import { formatBytes } from "@/ui/format";
import { JobProgress } from "@/ui/JobProgress";
import { Loaded } from "@/ui/Loaded";
import { PageHeader } from "@/ui/PageHeader";
import { RoleButton } from "@/ui/RoleButton";
import { Section } from "@/ui/Section";
import { isOver } from "@/ui/StateBadge";
import { Time } from "@/ui/Time";

import { forget, useCandidates, useModels, type Candidate, type Model } from "./core/hooks";
import { infoLines, MODEL_KINDS } from "./info";
import { RegisterDialog } from "./RegisterDialog";
import { TinyModelDialog } from "./core/TinyModelDialog";

function Kind({ kind }: { kind: Model["kind"] }) {
  return (
    <Tooltip label={MODEL_KINDS[kind].use}>
      <Badge>{MODEL_KINDS[kind].label}</Badge>
    </Tooltip>
  );
}

const COLUMNS: Column<Model>[] = [
  {
    key: "name",
    header: "Name",
    sort: (model) => model.name,
    cell: (model) => (
      <>
        <Text size="sm" fw={500}>
          {model.name}
        </Text>
        <Text size="xs" c="dimmed" style={{ overflowWrap: "anywhere" }}>
          {infoLines(model.info).join(", ")}
        </Text>
      </>
    ),
  },
  { key: "kind", header: "Kind", width: 110, sort: (model) => model.kind, cell: ({ kind }) => <Kind kind={kind} /> },
  {
    key: "path",
    header: "Folder",
    cell: (model) => (
      <>
        <Code style={{ overflowWrap: "anywhere" }}>{model.path}</Code>
        {!model.available && (
          <Text size="xs" c="var(--mantine-color-error)" role="alert">
            Its files are gone. Put them back, or forget the model; runs cannot start from it until then.
          </Text>
        )}
      </>
    ),
  },
  {
    key: "size",
    header: "Size",
    width: 100,
    align: "right",
    sort: (model) => model.size_bytes,
    cell: (model) => formatBytes(model.size_bytes),
  },
  {
    key: "created",
    header: "Registered",
    width: 120,
    sort: (model) => model.created_at,
    cell: (model) => <Time value={model.created_at} />,
  },
  {
    key: "actions",
    header: "",
    width: 90,
    align: "right",
    cell: (model) => (
      <ConfirmButton
        needs="operator"
        size="xs"
        variant="default"
        data-testid="model-forget"
        question={`Forget ${model.name}?`}
        explanation="It disappears from the list of models that runs can start from. Files below a model root stay where they are; those of a tiny model that was made here are removed. Runs that started from it keep their results."
        confirmLabel="Forget it"
        action={() => forget(model.id)}
      >
        Forget
      </ConfirmButton>
    ),
  },
];

function candidateColumns(register: (candidate: Candidate) => void): Column<Candidate>[] {
  return [
    {
      key: "folder",
      header: "Folder",
      sort: (candidate) => candidate.folder,
      cell: (candidate) => (
        <>
          <Code>{candidate.folder}</Code>
          <Text size="xs" c="dimmed">
            below {candidate.root}
          </Text>
        </>
      ),
    },
    { key: "kind", header: "Kind", width: 110, cell: ({ kind }) => <Kind kind={kind} /> },
    {
      key: "info",
      header: "What it is",
      cell: (candidate) => (
        <Text size="xs" c="dimmed">
          {infoLines(candidate.info).join(", ")}
        </Text>
      ),
    },
    {
      key: "size",
      header: "Size",
      width: 100,
      align: "right",
      sort: (candidate) => candidate.size_bytes,
      cell: (candidate) => formatBytes(candidate.size_bytes),
    },
    {
      key: "actions",
      header: "",
      width: 110,
      align: "right",
      cell: (candidate) => (
        <RoleButton needs="operator" size="xs" data-testid="model-register" onClick={() => register(candidate)}>
          Register
        </RoleButton>
      ),
    },
  ];
}

export function ModelsPage() {
  const models = useModels();
  const candidates = useCandidates();
  const operator = useCan("operator");
  const making = useJobs({ kind: "init_model", limit: 5 });
  const [tiny, setTiny] = useState(false);
  const [candidate, setCandidate] = useState<Candidate | null>(null);
  // those under way, and the newest if it failed
  const shown = (making.data?.items ?? []).filter(
    (job, index) => !isOver(job.state) || (index === 0 && job.state === "failed"),
  );
  const makeTiny = (
    <RoleButton
      needs="operator"
      leftSection={<IconPlus size={16} />}
      onClick={() => setTiny(true)}
      data-testid="model-make-tiny"
    >
      Make a tiny model
    </RoleButton>
  );

  return (
    <>
      <PageHeader
        title="Base models"
        subtitle="What trainings start from: a Qwen2-VL, a pretrained action expert, or a policy trained elsewhere."
        actions={makeTiny}
      />
      <Stack>
        {shown.map((job) => (
          <Card key={job.id}>
            <JobProgress job={job} titled actions={<JobActions job={job} />} />
          </Card>
        ))}
        <Loaded query={models}>
          {(list) =>
            list.length === 0 ? (
              <Card>
                <EmptyState icon={IconCube} title="No base model yet">
                  Make a tiny one to try everything out on a CPU, or register a real Qwen2-VL from below a model root.
                </EmptyState>
              </Card>
            ) : (
              <Card padding={0}>
                <DataTable
                  label="Registered models"
                  rows={list}
                  columns={COLUMNS}
                  rowKey={(model) => model.id}
                  rowTestId="model-row"
                  minWidth={860}
                />
              </Card>
            )
          }
        </Loaded>
        {operator && (
          <Section
            title="Found on this machine"
            description="Folders below the model roots that look like a model and are not registered yet."
            flush={(candidates.data?.length ?? 0) > 0}
          >
            <Loaded query={candidates}>
              {(list) =>
                list.length === 0 ? (
                  <Alert icon={<IconInfoCircle size={18} />} color="gray">
                    Nothing was found. To use a real Qwen2-VL, download it, for example with{" "}
                    <Code>hf download Qwen/Qwen2-VL-2B-Instruct --local-dir /srv/models/qwen2-vl-2b</Code>, and start
                    the studio with <Code>STUDIO_MODEL_ROOTS=/srv/models</Code>. Paths are never typed into a page; the
                    administrator of the machine decides what may be read.
                  </Alert>
                ) : (
                  <DataTable
                    label="Models found below the model roots"
                    rows={list}
                    columns={candidateColumns(setCandidate)}
                    rowKey={(each) => each.id}
                    rowTestId="candidate-row"
                  />
                )
              }
            </Loaded>
          </Section>
        )}
      </Stack>
      <TinyModelDialog opened={tiny} onClose={() => setTiny(false)} />
      <RegisterDialog candidate={candidate} onClose={() => setCandidate(null)} />
    </>
  );
}
