import { ActionIcon, NumberInput, Popover, Slider, Stack, Switch, Text, Tooltip } from "@mantine/core";
import { IconAdjustments } from "@tabler/icons-react";

import { useAnnotator } from "./context";
import { LAG_MOST_MS } from "./preferences";
import { changePreferences } from "./usePreferences";

/** Settings of cuts and the timeline. */
export function CutSettings() {
  const { preferences } = useAnnotator();
  const { lagMs, snap, follow, acceptAbove } = preferences;
  return (
    <Popover trapFocus returnFocus position="top" withinPortal>
      <Popover.Target>
        <Tooltip label="Settings of cuts and the timeline">
          <ActionIcon
            variant="default"
            size={32}
            aria-label="Settings of cuts and the timeline"
            data-testid="cut-settings"
          >
            <IconAdjustments size={18} />
          </ActionIcon>
        </Tooltip>
      </Popover.Target>
      <Popover.Dropdown data-testid="cut-settings-panel">
        <Stack gap="sm" w={300}>
          <NumberInput
            size="xs"
            label="Reaction lag"
            description="Cuts made during playback are moved back by this much, times the speed. Cuts made while paused stay where they are."
            suffix=" ms"
            min={0}
            max={LAG_MOST_MS}
            step={20}
            clampBehavior="strict"
            value={lagMs}
            onChange={(value) => typeof value === "number" && changePreferences({ lagMs: value })}
            data-testid="lag"
          />
          <Switch
            size="sm"
            label="Snap boundaries to candidates nearby"
            description="When they are dragged (hold Alt to prevent it), or cut during playback."
            checked={snap}
            onChange={(event) => changePreferences({ snap: event.currentTarget.checked })}
            data-testid="snap"
          />
          <Switch
            size="sm"
            label="The timeline follows the playhead"
            checked={follow}
            onChange={(event) => changePreferences({ follow: event.currentTarget.checked })}
            data-testid="follow"
          />
          <div>
            <Text size="xs">Shift+A accepts proposals from {Math.round(100 * acceptAbove)} % confidence on</Text>
            <Slider
              size="sm"
              thumbLabel="Least confidence"
              min={0}
              max={1}
              step={0.05}
              value={acceptAbove}
              onChange={(value) => changePreferences({ acceptAbove: value })}
              label={null}
              data-testid="accept-above"
            />
          </div>
        </Stack>
      </Popover.Dropdown>
    </Popover>
  );
}
