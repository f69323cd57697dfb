import { Alert, Autocomplete, Button, Group, Stack, Text } from "@mantine/core";
import { IconPlayerPause, IconPlayerPlay, IconPlayerStop, IconRefresh } from "@tabler/icons-react";
import { useState } from "react";

import { CheckpointSelect } from "@/features/checkpoints/core/CheckpointSelect";
import { useCheckpoint, useSomeCheckpoints } from "@/features/checkpoints/core/hooks";
import { useTasksOf } from "@/features/robots/core/tasks";
import { ErrorNote } from "@/ui/ErrorNote";
import { formatCount } from "@/ui/format";
import { RoleButton } from "@/ui/RoleButton";

import { useDemo } from "./demo";
import { usePolicyServers } from "./servers";
import { useDriver, useLiveRobot, useNow, useSupervised, useVerb } from "./hooks";
import { demoSuggestions, suggestions } from "./instructions";
import classes from "./live.module.css";
import type { Policy, Scene } from "./messages";
import { nextScene, useNewScene } from "./scene";
import { paceWord } from "./words";

interface Props {
  operator: boolean;
}

/** Choose a policy and let it act; while one is there: what it was told, pause, end, and how it does. */
export function PolicyPanel({ operator }: Props) {
  const policy = useNow((now) => now.policy);
  return policy ? <Acting policy={policy} operator={operator} /> : <Choice operator={operator} />;
}

/** Of the select: not a checkpoint of the studio. */
const DEMO = "demo";
const SERVER = "ws://";

function Choice({ operator }: Props) {
  const newest = useSomeCheckpoints("", 1).data?.items[0];
  const demo = useDemo();
  const servers = usePolicyServers();
  const scene = useNow((now) => now.scene) ?? null;
  const tasks = useTasksOf(useLiveRobot().name);
  const obstacle = useObstacle();
  const refused = useDriver((view) => view.refused);
  const start = useSupervised("rollout");
  const [chosen, setChosen] = useState<string | null>(null);
  const [typed, setTyped] = useState<string | null>(null);
  const running = servers.map((server) => ({ value: SERVER + server, label: `Policy server ${server}` }));
  const id = chosen ?? newest?.id ?? running[0]?.value ?? (demo ? DEMO : null);
  const suggested = id === DEMO && demo ? demoSuggestions(demo, scene) : suggestions(scene, tasks);
  const instruction = typed ?? suggested[0] ?? "";
  const missing = id === null ? "Choose a checkpoint." : instruction.trim() === "" ? "Write what it should do." : null;
  const begin = () =>
    void start.start({
      ...(id === DEMO ? { demo: true } : id?.startsWith(SERVER) ? { url: id } : { checkpoint_id: id ?? "" }),
      instruction: instruction.trim(),
    });
  return (
    <Stack gap="xs">
      <CheckpointSelect
        label={servers.length === 0 ? "Checkpoint" : "Checkpoint or policy server"}
        placeholder={id === null ? "No checkpoint yet: train one first" : "Choose"}
        above={demo ? [{ value: DEMO, label: "Demo policy" }] : []}
        below={running}
        value={id}
        onChange={setChosen}
        allowDeselect={false}
        disabled={!operator}
        data-testid="live-checkpoint"
      />
      <InstructionField value={instruction} suggested={suggested} onChange={setTyped} disabled={!operator} />
      <RoleButton
        needs="operator"
        leftSection={<IconPlayerPlay size={18} />}
        because={obstacle ?? missing}
        loading={start.isPending}
        onClick={begin}
        data-testid="live-start"
      >
        Start
      </RoleButton>
      <ErrorNote error={start.error} title="It was not started" />
      {refused && <Refused message={refused.message} />}
    </Stack>
  );
}

/** Why no policy may begin or go on now, for people. */
function useObstacle(): string | null {
  const obstacle = useNow(({ status, mode }) =>
    status.state !== "holding"
      ? "The robot takes no command now; re-arm it first."
      : mode === "drive"
        ? "Somebody drives the robot."
        : null,
  );
  return obstacle === undefined ? "The robot has not been heard from yet." : obstacle;
}

function Acting({ policy, operator }: Props & { policy: Policy }) {
  const mode = useNow((now) => now.mode);
  const obstacle = useObstacle();
  const scene = useNow((now) => now.scene) ?? null;
  const tasks = useTasksOf(useLiveRobot().name);
  const demo = useDemo();
  const name = usePolicyName(policy);
  const supervising = useDriver((view) => view.supervising);
  const refused = useDriver((view) => view.refused);
  const pause = useVerb("pause");
  const resume = useSupervised("resume");
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
        {name}
      </Text>
      <InstructionField
        value={typed ?? policy.instruction}
        suggested={policy.name === DEMO && demo ? demoSuggestions(demo, scene) : suggestions(scene, tasks)}
        onChange={setTyped}
        onEnter={tell}
        disabled={!operator}
        note={
          typed !== null && typed.trim() !== policy.instruction
            ? "Press Enter to send it to the policy"
            : "Change it at any time; press Enter to send it"
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
            because={obstacle}
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
      {scene && <Again scene={scene} />}
      <Facts policy={policy} />
      {policy.refused !== null && (
        <Alert color="orange" p="xs" data-testid="live-refused">
          The newest chunk was refused: {policy.refused}
        </Alert>
      )}
      {mode === "policy" && !supervising && (
        <Text size="xs" c="dimmed">
          Another page supervises it. It pauses when that one closes.
        </Text>
      )}
      {refused && <Refused message={refused.message} />}
      <ErrorNote error={say.error ?? pause.error ?? resume.error ?? end.error} />
    </Stack>
  );
}

/** How the scene's task ended, and the next one: a policy does not know that it is done and goes on as it was told. */
function Again({ scene }: { scene: Scene }) {
  const fresh = useNewScene();
  const over = scene.success ? "Succeeded." : scene.wrong === true ? "It lifted another object." : null;
  return (
    <>
      <Group gap="xs" justify="space-between" wrap="nowrap">
        <Text size="sm" c={over ? undefined : "dimmed"} fw={over ? 600 : undefined} data-testid="live-outcome">
          {over ?? "Not done yet."}
        </Text>
        <RoleButton
          needs="operator"
          size="xs"
          variant={over ? "light" : "subtle"}
          leftSection={<IconRefresh size={14} />}
          loading={fresh.pending}
          because={fresh.obstacle}
          onClick={() => void fresh.begin(nextScene(scene))}
          data-testid="live-next-scene"
        >
          Next scene
        </RoleButton>
      </Group>
      <ErrorNote error={fresh.error} />
    </>
  );
}

/** As the studio calls it; while it loads the robot's host knows a folder alone. */
function usePolicyName({ name, checkpoint_id: id }: Policy): string {
  const checkpoint = useCheckpoint(name === DEMO ? null : id).data;
  if (name === DEMO) return "Demo policy";
  return checkpoint?.name ?? name;
}

function Facts({ policy }: { policy: Policy }) {
  const pace = useNow(paceWord) ?? null;
  const facts = [
    ["Latency", policy.latency_ms === null ? "-" : `${Math.round(policy.latency_ms)} ms`, "live-latency"],
    ["Chunks", formatCount(policy.chunks), "live-chunks"],
    ["Late steps", formatCount(policy.late_steps), "live-late"],
    ...(pace === null ? [] : [["Speed", pace, "live-real-time"] as const]),
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
  suggested: readonly string[];
  onChange: (value: string) => void;
  onEnter?: (value: string) => void;
  disabled: boolean;
  note?: string;
}

function InstructionField({ value, suggested, onChange, onEnter, disabled, note }: FieldProps) {
  const [opened, setOpened] = useState(false);
  return (
    <Autocomplete
      label="Instruction"
      dropdownOpened={opened}
      onDropdownOpen={() => setOpened(true)}
      onDropdownClose={() => setOpened(false)}
      description={note}
      inputWrapperOrder={["label", "input", "description", "error"]}
      placeholder="Pick up the red cube"
      maxLength={400}
      data={[...suggested]}
      filter={({ options }) => options}
      value={value}
      onChange={onChange}
      onOptionSubmit={onEnter}
      onKeyDown={(event) => {
        if (event.key !== "Enter") return;
        setOpened(false); // it would lie over Pause
        onEnter?.(event.currentTarget.value);
      }}
      disabled={disabled}
      data-testid="live-instruction"
      rightSection={
        onEnter && (
          <Button size="compact-xs" variant="subtle" onClick={() => onEnter(value)} data-testid="live-tell">
            Send
          </Button>
        )
      }
      rightSectionWidth={onEnter ? 52 : undefined}
    />
  );
}
