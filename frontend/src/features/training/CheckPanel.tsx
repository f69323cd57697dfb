import { Alert, Anchor, Badge, Box, Button, Card, Group, List, Loader, Stack, Text, Title } from "@mantine/core";
import { IconAlertTriangle, IconCircleCheck, IconCircleDashed, IconEye, IconPlayerPlay } from "@tabler/icons-react";
import { useState } from "react";

import type { Schema } from "@/api/client";
import { useCan } from "@/api/queries";
import { useJob } from "@/features/jobs/core/hooks";
import { JobActions } from "@/features/jobs/core/JobActions";
import { ErrorNote } from "@/ui/ErrorNote";
import { JobProgress } from "@/ui/JobProgress";
import { RoleButton } from "@/ui/RoleButton";
import { isOver } from "@/ui/StateBadge";

import { Differences } from "./Differences";
import type { RunIn, TrainForm } from "./form";
import { usePreflight } from "./hooks";
import { PreflightReport } from "./PreflightReport";
import { Recipe } from "./Recipe";

interface Props {
  form: TrainForm;
  body: RunIn;
  /** what is not chosen yet: short texts */
  missing: readonly string[];
  errors: Record<string, string>;
  check: Schema<"RunCheck"> | undefined;
  checking: boolean;
  problem: unknown;
  starting: boolean;
  start: () => void;
}

/** Beside the form: whether it would start, what is odd, the way to start it, and the same run for a command line. */
export function CheckPanel(props: Props) {
  const { form, body, missing, errors, check, checking, problem, starting, start } = props;
  const wrong = Object.entries(errors);
  const ready = missing.length === 0 && wrong.length === 0 && check?.ok === true;
  const because =
    missing.length > 0
      ? missing.join(" ")
      : wrong.length > 0
        ? "Fix the marked fields first."
        : checking || !check
          ? "It is being checked."
          : null;
  return (
    <Stack gap="md" data-testid="check-panel" data-ok={ready}>
      <Card>
        <Stack gap="sm">
          <Status ready={ready} missing={missing} wrong={wrong.length} checking={checking} />
          {missing.length > 0 && (
            <List size="sm" spacing={2} c="dimmed">
              {missing.map((text) => (
                <List.Item key={text}>{text}</List.Item>
              ))}
            </List>
          )}
          {wrong.length > 0 && (
            <List size="sm" spacing={4} data-testid="check-errors">
              {wrong.map(([path, text]) => (
                <List.Item key={path}>
                  <Complaint form={form} path={path} text={text} />
                </List.Item>
              ))}
            </List>
          )}
          {/* a start that is still being checked shows as such, without the buttons changing their place */}
          <RoleButton
            needs="operator"
            fullWidth
            leftSection={<IconPlayerPlay size={16} />}
            loading={starting}
            because={because}
            onClick={start}
            data-testid="run-start-button"
          >
            Start training
          </RoleButton>
          <LookFirst body={body} because={because} />
          <ErrorNote error={problem} title="It was not started" />
        </Stack>
      </Card>
      {check && check.notes.length > 0 && (
        <Alert
          variant="outline"
          color="yellow"
          icon={<IconAlertTriangle size={18} />}
          title="Worth a thought"
          data-testid="check-notes"
        >
          <List size="sm" spacing={4}>
            {check.notes.map((note) => (
              <List.Item key={note}>{note}</List.Item>
            ))}
          </List>
        </Alert>
      )}
      {check && (
        <Card>
          <Group justify="space-between" mb="xs">
            <Title order={3}>Changes from the preset</Title>
            <Badge color="gray">{Object.keys(check.differences).length}</Badge>
          </Group>
          <Differences differences={check.differences} form={form} preset={body.preset ?? null} />
        </Card>
      )}
      {check?.command && check.command_many_gpus && check.spec_yaml && (
        <Card>
          <Title order={3} mb="xs">
            Without the studio
          </Title>
          <Recipe command={check.command} commandManyGpus={check.command_many_gpus} yaml={check.spec_yaml} />
        </Card>
      )}
    </Stack>
  );
}

function Status({
  ready,
  missing,
  wrong,
  checking,
}: {
  ready: boolean;
  missing: readonly string[];
  wrong: number;
  checking: boolean;
}) {
  const may = useCan("operator");
  const [Icon, color, text] =
    wrong > 0
      ? ([IconAlertTriangle, "red", wrong === 1 ? "One field to fix" : `${wrong} fields to fix`] as const)
      : missing.length > 0
        ? ([IconCircleDashed, "dimmed", "Still to choose"] as const)
        : ready
          ? ([IconCircleCheck, "teal", "Ready to start"] as const)
          : ([IconCircleDashed, "dimmed", may ? "Checking" : "An operator can start it"] as const);
  return (
    <Group gap={8} wrap="nowrap" mih={24} role="status" data-testid="check-status">
      <Text c={color} component="span" lh={0}>
        <Icon size={20} />
      </Text>
      <Text fw={600} c={wrong > 0 ? "red" : undefined}>
        {text}
      </Text>
      {checking && <Loader size={14} ml="auto" aria-label="Checking" />}
    </Group>
  );
}

/** A complaint with the way to its field. */
function Complaint({ form, path, text }: { form: TrainForm; path: string; text: string }) {
  const field = form.fields.find((each) => each.path === path);
  if (!field) return <>{text}</>;
  const go = () => {
    const place = document.getElementById(`field-${path}`);
    place?.scrollIntoView({ block: "center" });
    place?.querySelector<HTMLElement>("input")?.focus();
  };
  return (
    <>
      <Anchor component="button" type="button" size="sm" onClick={go}>
        {field.label}
      </Anchor>
      : {text}
    </>
  );
}

/** The pre-flight: a job that loads data and model; its report is of the form as it was then. */
function LookFirst({ body, because }: { body: RunIn; because: string | null }) {
  const preflight = usePreflight();
  const [asked, setAsked] = useState<{ job: string; body: string } | null>(null);
  const job = useJobIf(asked?.job ?? null);
  const now = JSON.stringify(body);
  const running = job !== undefined && !isOver(job.state);
  return (
    <>
      <RoleButton
        needs="operator"
        variant="default"
        fullWidth
        leftSection={<IconEye size={16} />}
        because={running ? "It is being checked." : because}
        loading={preflight.isPending}
        data-testid="run-preflight"
        onClick={() => preflight.mutate(body, { onSuccess: (started) => setAsked({ job: started.id, body: now }) })}
      >
        Check before you start
      </RoleButton>
      {asked === null && (
        <Text size="xs" c="dimmed">
          Loads data and model on a worker and reports memory, disk and labels. Nothing is trained.
        </Text>
      )}
      <ErrorNote error={preflight.error} />
      {job && (running || job.state === "failed" || job.state === "cancelled") && (
        <JobProgress job={job} actions={running ? <JobActions job={job} /> : undefined} />
      )}
      {job?.state === "done" && job.result && (
        <Box>
          {asked?.body !== now && (
            <Text size="xs" c="orange" mb={4}>
              The form has changed since; check again for its figures.
            </Text>
          )}
          <PreflightReport report={job.result} />
        </Box>
      )}
      {asked !== null && !running && (
        <Button variant="subtle" size="compact-xs" color="gray" onClick={() => setAsked(null)}>
          Hide the report
        </Button>
      )}
    </>
  );
}

function useJobIf(id: string | null): Schema<"JobOut"> | undefined {
  const { data } = useJob(id ?? "", id !== null);
  return id === null ? undefined : data;
}
