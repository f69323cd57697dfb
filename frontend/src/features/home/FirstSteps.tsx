import { Anchor, Box, Button, Card, Collapse, Group, Progress, Text, ThemeIcon, Title } from "@mantine/core";
import { IconCheck, IconChevronDown, IconChevronUp } from "@tabler/icons-react";
import { useState } from "react";
import { Link } from "react-router";

import { DemoDialog } from "@/features/datasets/core/DemoDialog";
import { JobActions } from "@/features/jobs/core/JobActions";
import { TinyModelDialog } from "@/features/base_models/core/TinyModelDialog";
import { JobProgress } from "@/ui/JobProgress";
import { RoleButton } from "@/ui/RoleButton";

import classes from "./FirstSteps.module.css";
import { nextStep, type Step, type StepId } from "./steps";

/** Steps that are done right here, in a dialog, and the role each takes. */
const IN_PLACE: Partial<Record<StepId, "data" | "model">> = { data: "data", model: "model" };

/** A newcomer's way through the loop. Folds away when everything is done. */
export function FirstSteps({ steps }: { steps: readonly Step[] }) {
  const [dialog, setDialog] = useState<"data" | "model" | null>(null);
  const done = steps.filter(({ state }) => state === "done").length;
  const finished = done === steps.length;
  const [open, setOpen] = useState<boolean | null>(null);
  const shown = open ?? !finished;
  const next = nextStep(steps);
  return (
    <Card component="section" aria-label="First steps" data-testid="first-steps" data-done={done}>
      <Group justify="space-between" gap="xs">
        <Box style={{ flex: "1 1 14rem", minWidth: 0 }}>
          <Title order={2}>{finished ? "First steps: all done" : "First steps"}</Title>
          <Text size="sm" c="dimmed">
            {finished
              ? "You have been through the whole loop once. From here on: more episodes, better labels, longer trainings."
              : "The whole loop once, from a recording to a policy that drives the robot."}
          </Text>
        </Box>
        <Group gap="sm" wrap="nowrap">
          {!finished && (
            <Text size="sm" c="dimmed" style={{ whiteSpace: "nowrap" }}>
              {done} of {steps.length} done
            </Text>
          )}
          <Button
            variant="subtle"
            color="gray"
            size="compact-sm"
            rightSection={shown ? <IconChevronUp size={14} /> : <IconChevronDown size={14} />}
            aria-expanded={shown}
            onClick={() => setOpen(!shown)}
            data-testid="first-steps-toggle"
          >
            {shown ? "Hide" : "Show"}
          </Button>
        </Group>
      </Group>
      <Collapse expanded={shown}>
        <Progress
          value={(100 * done) / steps.length}
          size="xs"
          color="teal"
          my="sm"
          aria-label={`${done} of ${steps.length} steps done`}
        />
        <ol className={classes.list}>
          {steps.map((step, index) => (
            <StepLine key={step.id} step={step} number={index + 1} next={step.id === next} openDialog={setDialog} />
          ))}
        </ol>
      </Collapse>
      <DemoDialog opened={dialog === "data"} onClose={() => setDialog(null)} />
      <TinyModelDialog opened={dialog === "model"} onClose={() => setDialog(null)} />
    </Card>
  );
}

interface LineProps {
  step: Step;
  number: number;
  next: boolean;
  openDialog: (dialog: "data" | "model") => void;
}

function StepLine({ step, number, next, openDialog }: LineProps) {
  const { state, job, to, action } = step;
  const dialog = IN_PLACE[step.id];
  return (
    <li
      className={next ? `${classes.step ?? ""} ${classes.next ?? ""}` : classes.step}
      data-testid={`step-${step.id}`}
      data-state={state}
      aria-current={next ? "step" : undefined}
    >
      <ThemeIcon
        size={28}
        radius="xl"
        mt={1}
        variant={state === "done" ? "filled" : "light"}
        color={state === "done" ? "teal" : next ? "studio" : "gray"}
      >
        {state === "done" ? (
          <IconCheck size={16} aria-label="done" />
        ) : (
          <Text size="sm" fw={600}>
            {number}
          </Text>
        )}
      </ThemeIcon>
      <div style={{ minWidth: 0 }}>
        <div className={classes.head}>
          <div className={classes.words}>
            <Text size="sm" fw={600} c={state === "later" ? "dimmed" : undefined}>
              {step.title}
            </Text>
            <Text size="sm" c="dimmed" lineClamp={4}>
              {step.text}
            </Text>
          </div>
          {to !== null ? (
            state === "done" ? (
              <Anchor component={Link} to={to} size="sm" style={{ whiteSpace: "nowrap" }}>
                {action}
              </Anchor>
            ) : (
              <Button
                component={Link}
                to={to}
                size="xs"
                variant={next ? "filled" : "default"}
                data-testid={`step-${step.id}-go`}
              >
                {action}
              </Button>
            )
          ) : (
            dialog &&
            state !== "running" && (
              <RoleButton
                needs="operator"
                size="xs"
                variant={next ? "filled" : "default"}
                onClick={() => openDialog(dialog)}
                data-testid={`step-${step.id}-go`}
              >
                {action}
              </RoleButton>
            )
          )}
        </div>
        {job && (
          <Box mt="xs">
            <JobProgress job={job} actions={<JobActions job={job} />} />
          </Box>
        )}
      </div>
    </li>
  );
}
