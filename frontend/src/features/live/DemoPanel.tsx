import { Alert, Progress as Bar, Stack, Text } from "@mantine/core";
import { IconPlayerPlay, IconRefresh } from "@tabler/icons-react";

import { ErrorNote } from "@/ui/ErrorNote";
import { RoleButton } from "@/ui/RoleButton";

import { useDemoOnArrival, usePrepareDemo, useWatchDemo } from "./demo";
import { progressWord } from "./demoWords";
import { useDriver, useLiveRobot, useNow } from "./hooks";
import type { Progress } from "./messages";

/** The demo policy: one button that does what helps, how far it is, and what went wrong. */
export function DemoPanel() {
  const robot = useLiveRobot();
  const demo = useWatchDemo();
  const { waiting, word } = useDemoOnArrival(demo);
  const mode = useNow((now) => now.mode);
  const policy = useNow((now) => now.policy);
  const failure = useNow((now) => now.failure) ?? null;
  const building = useNow((now) => now.building) ?? null;
  const refused = useDriver((view) => view.refused);
  usePrepareDemo(demo.offered ? robot.name : undefined);

  const loading = policy?.loading ?? building;
  if (loading) return <Loading progress={loading} />;
  if (!demo.offered || (policy && mode === "policy")) return null;
  const failed = failure?.demo === true;
  const again = failed || demo.error !== null || refused?.code === "held_by_other";
  const showRecording = () => document.querySelector("[data-testid=live-recording]")?.scrollIntoView();
  const [label, act] =
    word.kind === "stopped"
      ? (["Re-arm and watch the demo", demo.armAndBegin] as const)
      : word.kind === "recording"
        ? (["Show the recording", showRecording] as const)
        : ([again ? "Try again" : "Watch the demo policy", demo.begin] as const);
  return (
    <Stack gap="xs">
      {waiting && word.sentence !== null && (
        <Alert color="orange" p="xs" title="You asked for the demo policy" role="status" data-testid="live-demo-waits">
          {word.sentence}
        </Alert>
      )}
      {failed && (
        <Alert color="red" p="xs" title="The demo policy did not start" role="alert" data-testid="live-demo-failed">
          {failure.reason}
        </Alert>
      )}
      <ErrorNote error={demo.error} title="It was not started" />
      <RoleButton
        needs="operator"
        variant={policy ? "default" : "light"}
        leftSection={again ? <IconRefresh size={18} /> : <IconPlayerPlay size={18} />}
        because={word.kind === "away" ? word.sentence : null}
        loading={demo.pending}
        onClick={act}
        data-testid="live-watch-demo"
      >
        {label}
      </RoleButton>
    </Stack>
  );
}

/** How far something is that takes seconds. In the place of the button that began it, so nothing jumps under a hand. */
function Loading({ progress }: { progress: Progress }) {
  const share = Math.min(0.95, progress.seconds / progress.typical);
  return (
    <Stack gap={6} mih={36} mb="xs" data-testid="live-loading" data-attempt={progress.attempt}>
      <Text size="sm" data-testid="live-loading-phase" style={{ fontVariantNumeric: "tabular-nums" }}>
        {progressWord(progress)}
      </Text>
      <Bar value={100 * share} size="sm" aria-label={progress.phase} transitionDuration={200} />
      {progress.attempt > 1 && (
        <Text size="xs" c="dimmed" data-testid="live-second-try">
          Second try. The first one failed: {progress.trouble}
        </Text>
      )}
    </Stack>
  );
}
