import { Anchor, Group, Text, Tooltip } from "@mantine/core";
import { useWindowEvent } from "@mantine/hooks";
import { IconPlayerPlay } from "@tabler/icons-react";
import type { CSSProperties } from "react";
import { Link } from "react-router";

import { useMe } from "@/api/queries";
import { useArm, useStop } from "@/features/robots/core/hooks";
import { ErrorNote } from "@/ui/ErrorNote";
import { formatNumber } from "@/ui/format";
import { RoleButton } from "@/ui/RoleButton";

import { useDriver, useLive, useLiveRobot, useNow } from "./hooks";
import classes from "./live.module.css";
import { NotRecorded } from "./NotRecorded";
import { StopPlace } from "./StopPlace";
import { stateWord } from "./words";

/** How the robot is, in a word and a line, and the stop. present: its host was heard of; undefined while unknown. */
export function StateBar({ present }: { present: boolean | undefined }) {
  const robot = useLiveRobot();
  const me = useMe();
  const stop = useStop();
  const arm = useArm();
  const driving = useDriver(({ driving, deadman }) => driving && deadman);
  const word = useLive((live) => JSON.stringify(stateWord(live, me?.name ?? "", driving)));
  const { key, word: said, color, why } = JSON.parse(word) as ReturnType<typeof stateWord>;
  const kind = useNow(({ status }) => (status.simulated ? "simulated" : "real"));

  // Escape writes nothing in any field and is where a frightened hand goes. It stops from wherever the focus is; only
  // while an input method composes a word it belongs to that word.
  useWindowEvent(
    "keydown",
    (event) => {
      if (event.key === "Escape" && !event.isComposing && !event.repeat) stop.mutate(robot.name);
    },
    { capture: true },
  );

  return (
    <>
      <div className={classes.top}>
        <header
          className={classes.bar}
          style={{ "--state-color": `var(--mantine-color-${color}-6)` } as CSSProperties}
          aria-label={`${robot.name}, live`}
        >
          <div className={classes.words} aria-live="polite">
            <Group gap="xs" wrap="nowrap">
              <Text className={classes.said} fw={650} lh={1.15} data-testid="live-state" data-state={key}>
                {said}
              </Text>
              <Text size="sm" c="dimmed" truncate>
                <Anchor component={Link} to="/robots" size="sm" c="dimmed">
                  {robot.name}
                </Anchor>
                {kind && `, ${kind}`}
                {present === false && ", away"}
              </Text>
            </Group>
            {why !== null && (
              <Text className={classes.why} size="sm" lineClamp={2} title={why} data-testid="live-why">
                {why.charAt(0).toUpperCase() + why.slice(1)}
              </Text>
            )}
          </div>
          <Rates />
          {key === "stopped" && (
            <RoleButton
              needs="operator"
              size="md"
              variant="default"
              leftSection={<IconPlayerPlay size={18} />}
              loading={arm.isPending}
              onClick={() => arm.mutate(robot.name)}
              data-testid="live-arm"
            >
              Re-arm
            </RoleButton>
          )}
        </header>
        <ErrorNote
          error={key === "stopped" ? null : stop.failureReason}
          title="The stop did not arrive: use the robot's own emergency stop"
        />
        <ErrorNote error={arm.error} title="It was not re-armed" />
        <NotRecorded />
      </div>
      <StopPlace onStop={() => stop.mutate(robot.name)} />
    </>
  );
}

function Rates() {
  const rates = useNow(({ status }) =>
    status.control_hz === null
      ? null
      : `${formatNumber(status.tick_hz, 3)} of ${formatNumber(status.control_hz, 3)} Hz`,
  );
  const late = useNow(({ status }) => status.late_ms);
  const echo = useDriver(({ connected, echo }) => (connected ? echo : null));
  return (
    <div className={classes.rates}>
      {rates && (
        <Tooltip
          position="left"
          label={`Control rate. The slowest 1 % of steps began ${formatNumber(late ?? 0, 2)} ms late.`}
        >
          <Text size="sm" c="dimmed" data-testid="live-rate">
            {rates}
          </Text>
        </Tooltip>
      )}
      {echo !== null && (
        <Tooltip position="left" label="From this page to the robot's host and back">
          <Text size="sm" c="dimmed" miw={70} data-testid="live-echo">
            echo {echo.toFixed(0)} ms
          </Text>
        </Tooltip>
      )}
    </div>
  );
}
