import { Alert, Button, Group, SegmentedControl, Slider, Stack, Switch, Text } from "@mantine/core";
import type { PointerEvent } from "react";

import { useArmsOf } from "@/features/robots/core/tasks";
import { formatNumber } from "@/ui/format";

import { useDriver, useLive, useLiveRobot, useNow } from "./hooks";
import { LONGEST_DELAY_MS } from "./evidence";
import { FULL_LINEAR, keyName, KEYS, onKeyboard, type Arms } from "./keys";
import classes from "./live.module.css";
import { Refused } from "./PolicyPanel";
import { DEADMAN } from "./thieves";
import { useDriveKeys } from "./useDriveKeys";

const ARMS: { value: Arms; label: string }[] = [
  { value: "left", label: "1 Left arm" },
  { value: "right", label: "2 Right arm" },
  { value: "both", label: "3 Both" },
];

const SECONDS = formatNumber(LONGEST_DELAY_MS / 1000, 2);

/** Driving with the keys: what moves, how fast, and which key does what. */
export function DrivePanel({ operator }: { operator: boolean }) {
  const { driver, name } = useLiveRobot();
  const two = useArmsOf(name) > 1;
  const { driving, connected, deadman, held, arms, speed, refused, released, repeatTrouble } = useDriver(
    (view) => view,
  );
  const heard = useLive(({ connection }) => connection === "live");
  const policyActs = useNow(({ mode }) => mode === "policy");
  useDriveKeys(driver, driving, two);
  const state = !driving
    ? "Off"
    : !connected || !heard
      ? "Connecting"
      : deadman
        ? held.size > 0
          ? "Moving"
          : "Press a key"
        : "Hold Shift";
  return (
    <Stack gap="xs">
      <Group justify="space-between" wrap="nowrap">
        <Switch
          label="Drive with keys"
          checked={driving}
          onChange={(event) => driver.setDriving(event.currentTarget.checked)}
          disabled={!operator || policyActs}
          data-testid="live-drive"
        />
        <Text size="sm" fw={600} style={{ whiteSpace: "nowrap" }} data-testid="live-drive-state" data-deadman={deadman}>
          {policyActs ? "Pause the policy first" : state}
        </Text>
      </Group>
      {two && (
        <SegmentedControl
          fullWidth
          size="xs"
          data={ARMS}
          value={arms}
          onChange={(value) => driver.choose(value)}
          aria-label="Arm"
          data-testid="live-drive-arms"
        />
      )}
      <Group gap="sm" wrap="nowrap">
        <Text size="xs" c="dimmed">
          Speed
        </Text>
        <Slider
          style={{ flex: 1 }}
          size="sm"
          min={10}
          max={100}
          step={10}
          value={Math.round(speed * 100)}
          onChange={(value) => driver.setSpeed(value / 100)}
          label={null}
          thumbLabel="Speed"
          data-testid="live-speed"
        />
        <Text size="xs" miw={64} ta="right" style={{ fontVariantNumeric: "tabular-nums" }}>
          {formatNumber(speed * FULL_LINEAR * 100, 2)} cm/s
        </Text>
      </Group>
      <Button
        className={classes.deadman}
        variant={deadman ? "filled" : "default"}
        disabled={!driving || !connected}
        {...{ [DEADMAN]: true }}
        onPointerDown={(event: PointerEvent<HTMLButtonElement>) => {
          if (event.button !== 0) return;
          event.currentTarget.setPointerCapture(event.pointerId);
          driver.hold();
        }}
        onPointerMove={(event: PointerEvent<HTMLButtonElement>) => {
          if (deadman && event.buttons === 0 && event.currentTarget.hasPointerCapture(event.pointerId))
            driver.release("The button was let go.");
        }}
        onLostPointerCapture={() => driver.release(null)}
        data-testid="live-deadman"
      >
        {deadman ? "Held: let go to hold still" : "Hold Shift, or hold this"}
      </Button>
      <KeyMap />
      {refused && <Refused message={refused.message} />}
      {!refused && released && (
        <Text size="xs" c="dimmed" data-testid="live-drive-released">
          {released} {deadman ? "Press the keys" : "Press Shift and the keys"} again to go on.
        </Text>
      )}
      {repeatTrouble && (
        <Alert color="orange" p="xs" data-testid="live-key-repeat" data-trouble={repeatTrouble}>
          {repeatTrouble === "off"
            ? "This system repeats no key that is held, so the page cannot know that it still is."
            : `This system repeats a held key later than ${SECONDS} s after it was pressed.`}{" "}
          The robot moves for at most {SECONDS} s a press. In the system&apos;s keyboard settings switch key repeat on,
          with a shorter delay.
        </Alert>
      )}
    </Stack>
  );
}

function KeyMap() {
  const arms = useDriver((view) => view.arms);
  const held = useDriver((view) => view.held);
  return (
    <div className={classes.keys} aria-label="Keys" data-testid="live-keys">
      {onKeyboard(KEYS[arms]).map(({ code, does, arm }) => (
        <div key={code} className={classes.key} data-held={held.has(code) || undefined}>
          <kbd>{keyName(code)}</kbd>
          <span>
            {arms === "both" && `${arm[0]?.toUpperCase() ?? ""}: `}
            {does}
          </span>
        </div>
      ))}
    </div>
  );
}
