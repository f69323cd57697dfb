import { ActionIcon, Button, Popover, SegmentedControl, Select, Slider, Stack, Text, Tooltip } from "@mantine/core";
import { IconPhotoCog } from "@tabler/icons-react";
import { useState } from "react";

import { useAnnotator } from "./context";
import { LAYOUTS, type Layout } from "./layout";
import { LOOK_RANGE, IMAGES_RANGE, PLAIN_LOOK, type Look } from "./preferences";
import { keysOf } from "./Transport";
import { changePreferences } from "./usePreferences";

const LAYOUT_NAMES: Record<Layout, string> = { even: "Even", row: "Row", focus: "One large" };
const ALL = "all cameras";

/** Layout and size of the cameras' images, brightness and contrast of each camera. */
export function CameraSettings({ opened, onChange }: { opened: boolean; onChange: (opened: boolean) => void }) {
  const { episode, preferences, actions } = useAnnotator();
  const [camera, setCamera] = useState(ALL);
  const names = episode.cameras.map(({ name }) => name);
  const look = preferences.looks[camera === ALL ? (names[0] ?? "") : camera] ?? PLAIN_LOOK;
  const action = actions.find(({ id }) => id === "pictures");

  const change = (part: Partial<Look>) => {
    const changed = camera === ALL ? names : [camera];
    const looks = Object.fromEntries(changed.map((name) => [name, { ...look, ...part }]));
    changePreferences({ looks: { ...preferences.looks, ...looks } });
  };
  return (
    <Popover opened={opened} onChange={onChange} trapFocus returnFocus position="top" withinPortal>
      <Popover.Target>
        <Tooltip label={`Images: layout, size, brightness, contrast (${action ? keysOf(action) : ""})`}>
          <ActionIcon
            variant="default"
            size={32}
            aria-label="Images: layout, size, brightness, contrast"
            onClick={() => onChange(!opened)}
            data-testid="picture-settings"
          >
            <IconPhotoCog size={18} />
          </ActionIcon>
        </Tooltip>
      </Popover.Target>
      <Popover.Dropdown data-testid="picture-settings-panel">
        <Stack gap="sm" w={280}>
          <SegmentedControl
            size="xs"
            value={preferences.layout}
            onChange={(layout) => changePreferences({ layout })}
            data={LAYOUTS.map((value) => ({ value, label: LAYOUT_NAMES[value] }))}
            aria-label="Layout of the cameras"
            data-testid="layout"
          />
          <Range
            label="Size"
            value={preferences.pictures}
            range={IMAGES_RANGE}
            onChange={(pictures) => changePreferences({ pictures })}
            text={(value) => `${Math.round(100 * value)} % of the window`}
          />
          <Select
            size="xs"
            aria-label="Camera"
            allowDeselect={false}
            value={camera}
            onChange={(value) => setCamera(value ?? ALL)}
            data={[ALL, ...names]}
            comboboxProps={{ withinPortal: false }}
            data-testid="look-camera"
          />
          <Range
            label="Brightness"
            value={look.brightness}
            range={LOOK_RANGE}
            onChange={(brightness) => change({ brightness })}
            text={(value) => `${value.toFixed(1)}x`}
          />
          <Range
            label="Contrast"
            value={look.contrast}
            range={LOOK_RANGE}
            onChange={(contrast) => change({ contrast })}
            text={(value) => `${value.toFixed(1)}x`}
          />
          <Button size="compact-xs" variant="default" onClick={() => changePreferences({ looks: {} })}>
            Reset to as recorded
          </Button>
        </Stack>
      </Popover.Dropdown>
    </Popover>
  );
}

interface RangeProps {
  label: string;
  value: number;
  range: { least: number; most: number };
  text: (value: number) => string;
  onChange: (value: number) => void;
}

function Range({ label, value, range, text, onChange }: RangeProps) {
  return (
    <div>
      <Text size="xs">
        {label}: {text(value)}
      </Text>
      <Slider
        size="sm"
        thumbLabel={label}
        min={range.least}
        max={range.most}
        step={0.02}
        value={value}
        onChange={onChange}
        label={null}
        data-testid={`look-${label.toLowerCase()}`}
      />
    </div>
  );
}
