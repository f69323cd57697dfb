import { ActionIcon, Badge, Group, Select, Text, Tooltip } from "@mantine/core";
import {
  IconChevronLeft,
  IconChevronRight,
  IconPlayerPauseFilled,
  IconPlayerPlayFilled,
  IconRepeat,
} from "@tabler/icons-react";
import type { ReactNode } from "react";

import { formatCount } from "@/ui/format";

import { keyText, type Action } from "./actions";
import classes from "./annotate.module.css";
import { entryIndex, useAnnotator, useEditorState, usePlayer } from "./context";
import { LabelDot } from "@/features/labels/core/LabelDot";
import { SPEEDS } from "./player";
import { performAction } from "./shortcuts";
import { secondsText } from "./text";
import { segmentAt, segmentOf } from "@/features/labels/core/timeline";

/** Play, step, speed, loop; where the playhead is and in which substep. */
export function Transport({ settings, stepNumber }: { settings: ReactNode; stepNumber: ReactNode }) {
  const { playback, fps, episode } = useAnnotator();
  const playing = usePlayer((state) => state.playing);
  const speed = usePlayer((state) => state.speed);
  const looping = usePlayer((state) => state.loop !== null);
  const step = usePlayer((state) => state.step);
  return (
    <div className={classes.transport}>
      <Group gap={4} wrap="nowrap">
        <ActionButton id="back">
          <IconChevronLeft size={18} />
        </ActionButton>
        <ActionButton id="play" filled label={playing ? "Pause" : "Play"} testid="play">
          {playing ? <IconPlayerPauseFilled size={18} /> : <IconPlayerPlayFilled size={18} />}
        </ActionButton>
        <ActionButton id="forward">
          <IconChevronRight size={18} />
        </ActionButton>
        <ActionButton id="loop" pressed={looping} testid="loop">
          <IconRepeat size={18} />
        </ActionButton>
      </Group>
      <Tooltip label="Speed, keys - and =">
        <Select
          aria-label="Speed"
          size="xs"
          w={82}
          allowDeselect={false}
          value={String(speed)}
          onChange={(value) => playback.player.setSpeed(Number(value))}
          data={SPEEDS.map((each) => ({ value: String(each), label: `${each}x` }))}
          data-testid="speed"
        />
      </Tooltip>
      {settings}
      <Text component="div" className={classes.now} data-testid="now" data-step={step} aria-live="off">
        step {stepNumber} of {formatCount(episode.steps - 1)}
        <Text span c="dimmed" inherit ml={8}>
          {secondsText(step / fps)}
        </Text>
      </Text>
      <CurrentSubstep step={step} />
    </div>
  );
}

function CurrentSubstep({ step }: { step: number }) {
  const { entries } = useAnnotator();
  const { timeline } = useEditorState().content;
  const index = segmentAt(timeline, step);
  const { text } = segmentOf(timeline, index);
  return (
    <Group gap={8} wrap="nowrap" ml="auto" style={{ minWidth: 0 }} data-testid="current-substep" data-index={index}>
      <Badge variant="default" size="sm" style={{ flexShrink: 0 }}>
        {index + 1} of {timeline.labels.length}
      </Badge>
      <LabelDot index={entryIndex(entries, text)} />
      <Text size="sm" truncate fs={text ? undefined : "italic"} c={text ? undefined : "dimmed"}>
        {text || "no text yet"}
      </Text>
    </Group>
  );
}

interface ButtonProps {
  id: string;
  children: ReactNode;
  label?: string;
  filled?: boolean;
  pressed?: boolean;
  disabled?: boolean;
  testid?: string;
}

/** An action as a button: its tooltip says its key. */
export function ActionButton({ id, children, label, filled = false, pressed, disabled, testid }: ButtonProps) {
  const { actions } = useAnnotator();
  const action = actions.find((each) => each.id === id);
  if (!action) return null;
  const text = label ?? action.label;
  return (
    <Tooltip label={`${text} (${keysOf(action)})`}>
      <ActionIcon
        variant={filled ? "filled" : pressed ? "light" : "default"}
        size={32}
        aria-label={text}
        aria-pressed={pressed}
        disabled={disabled}
        onClick={() => performAction(actions, id)}
        data-testid={testid ?? `action-${id}`}
      >
        {children}
      </ActionIcon>
    </Tooltip>
  );
}

export function keysOf(action: Action): string {
  return action.keyText ?? action.keys.map(keyText).join(" or ");
}
