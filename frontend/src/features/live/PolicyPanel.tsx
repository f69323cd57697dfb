import { Alert, Autocomplete, Button, Group, Select, Stack, Text } from "@mantine/core";
import { IconPlayerPause, IconPlayerPlay, IconPlayerStop } from "@tabler/icons-react";
import { useState } from "react";

import { useCheckpoints } from "@/features/checkpoints/hooks";
import { ErrorNote } from "@/ui/ErrorNote";
import { formatCount } from "@/ui/format";
import { RoleButton } from "@/ui/RoleButton";

import { useDriver, useNow, useVerb, useWatched } from "./hooks";
import { suggestions } from "./instructions";
import classes from "./live.module.css";
import type { Policy } from "./messages";

interface Props {
  operator: boolean;
}

/** Choose a policy and let it act; while one is there: what it was told, pause, end, and how it does. */
export function PolicyPanel({ operator }: Props) {
  const policy = useNow((now) => now.policy);
  return policy ? <Acting policy={policy} operator={operator} /> : <Choice operator={operator} />;
}

function Choice({ operator }: Props) {
  const checkpoints = useCheckpoints();
  const scene = useNow((now) => now.scene) ?? null;
  const stopped = useNow(({ status }) => status.state !== "holding");
  const driven = useNow(({ mode }) => mode === "drive");
  const refused = useDriver((view) => view.refused);
  const start = useWatched("rollout");
  const [chosen, setChosen] = useState<string | null>(null);
  const [typed, setTyped] = useState<string | null>(null);
  const found = (checkpoints.data ?? []).filter(({ available }) => available);
  const id = chosen ?? found[0]?.id ?? null;
  const instruction = typed ?? scene?.instruction ?? "";
  const because =
    stopped === undefined
      ? "The robot was not heard of yet."
      : stopped
        ? "The robot takes no command now; re-arm it first."
        : driven
          ? "Somebody drives the robot."
          : id === null
            ? "Choose a checkpoint."
            : instruction.trim() === ""
              ? "Say what it is to do."
              : null;
  return (
    <Stack gap="xs">
      <Select
        label="Checkpoint"
        placeholder={found.length === 0 ? "No checkpoint yet: train one first" : "Choose"}
        data={found.map(({ id, name }) => ({ value: id, label: name }))}
        value={id}
        onChange={setChosen}
        allowDeselect={false}
        searchable
        disabled={!operator}
        data-testid="live-checkpoint"
      />
      <InstructionField value={instruction} onChange={setTyped} disabled={!operator} />
      <RoleButton
        needs="operator"
        leftSection={<IconPlayerPlay size={18} />}
        because={because}
        loading={start.isPending}
        onClick={() => void start.start({ checkpoint_id: id ?? "", instruction: instruction.trim() })}
        data-testid="live-start"
      >
        Start
      </RoleButton>
      <ErrorNote error={start.error} title="It was not started" />
      {refused && <Refused message={refused.message} />}
    </Stack>
  );
}

function Acting({ policy, operator }: Props & { policy: Policy }) {
  const mode = useNow((now) => now.mode);
  const stopped = useNow(({ status }) => status.state !== "holding");
  const watching = useDriver((view) => view.watching);
  const refused = useDriver((view) => view.refused);
  const pause = useVerb("pause");
  const resume = useWatched("resume");
  const end = useVerb("end");
  const say = useVerb("instruction");
  const [typed, setTyped] = useState<string | null>(null);
  const tell = (instruction: string) => {
    if (instruction.trim() === "" || instruction.trim() === policy.instruction) return;
    say.mutate({ instruction: instruction.trim() }, { onSuccess: () => setTyped(null) });
  };
  return (
    <Stack gap="xs">
      <Text size="sm" fw={600} truncate data-testid="live-policy" data-ready={policy.ready}>
        {policy.name}
      </Text>
      <InstructionField
        value={typed ?? policy.instruction}
        onChange={setTyped}
        onEnter={tell}
        disabled={!operator}
        note={
          typed !== null && typed.trim() !== policy.instruction
            ? "Enter tells it to the policy"
            : "Change it while it acts; Enter tells it"
        }
      />
      <Group grow gap="xs">
        {mode === "policy" ? (
          <RoleButton
            needs="operator"
            variant="default"
            leftSection={<IconPlayerPause size={18} />}
            loading={pause.isPending}
            onClick={() => pause.mutate(null)}
            data-testid="live-pause"
          >
            Pause
          </RoleButton>
        ) : (
          <RoleButton
            needs="operator"
            leftSection={<IconPlayerPlay size={18} />}
            loading={resume.isPending}
            because={
              stopped
                ? "The robot takes no command now; re-arm it first."
                : mode === "drive"
                  ? "Somebody drives the robot."
                  : null
            }
            onClick={() => void resume.start(null)}
            data-testid="live-resume"
          >
            Resume
          </RoleButton>
        )}
        <RoleButton
          needs="operator"
          variant="default"
          leftSection={<IconPlayerStop size={18} />}
          loading={end.isPending}
          onClick={() => end.mutate(null)}
          data-testid="live-end"
        >
          End
        </RoleButton>
      </Group>
      <Facts policy={policy} />
      {policy.refused !== null && (
        <Alert color="orange" p="xs" data-testid="live-refused">
          The newest chunk was refused: {policy.refused}
        </Alert>
      )}
      {mode === "policy" && !watching && (
        <Text size="xs" c="dimmed">
          Another page watches over it. It pauses when that one closes.
        </Text>
      )}
      {refused && <Refused message={refused.message} />}
      <ErrorNote error={say.error ?? pause.error ?? resume.error ?? end.error} />
    </Stack>
  );
}

function Facts({ policy }: { policy: Policy }) {
  const facts = [
    ["Latency", policy.latency_ms === null ? "-" : `${Math.round(policy.latency_ms)} ms`, "live-latency"],
    ["Chunks", formatCount(policy.chunks), "live-chunks"],
    ["Late steps", formatCount(policy.late_steps), "live-late"],
  ] as const;
  return (
    <dl className={classes.facts}>
      {facts.map(([name, value, testid]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd data-testid={testid}>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

export function Refused({ message }: { message: string }) {
  return (
    <Alert color="orange" p="xs" role="status" data-testid="live-drive-refused">
      {message}
    </Alert>
  );
}

interface FieldProps {
  value: string;
  onChange: (value: string) => void;
  onEnter?: (value: string) => void;
  disabled: boolean;
  note?: string;
}

function InstructionField({ value, onChange, onEnter, disabled, note }: FieldProps) {
  const scene = useNow((now) => now.scene) ?? null;
  return (
    <Autocomplete
      label="Instruction"
      description={note}
      inputWrapperOrder={["label", "input", "description", "error"]}
      placeholder="Pick up the red cube"
      maxLength={400}
      data={suggestions(scene)}
      filter={({ options }) => options}
      value={value}
      onChange={onChange}
      onOptionSubmit={onEnter}
      onKeyDown={(event) => {
        if (event.key === "Enter") onEnter?.(event.currentTarget.value);
      }}
      disabled={disabled}
      data-testid="live-instruction"
      rightSection={
        onEnter && (
          <Button size="compact-xs" variant="subtle" onClick={() => onEnter(value)} data-testid="live-tell">
            Tell
          </Button>
        )
      }
      rightSectionWidth={onEnter ? 52 : undefined}
    />
  );
}
