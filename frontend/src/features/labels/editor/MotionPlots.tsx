import { Button, Checkbox, Chip, Group, Popover, SegmentedControl, SimpleGrid, Skeleton, Text } from "@mantine/core";
import { IconChevronDown } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";

import { ErrorNote } from "@/ui/ErrorNote";

import classes from "./annotate.module.css";
import { getMotion } from "./api";
import { useAnnotator } from "./context";
import { curvesOf, speedsOf, type Curve } from "./curves";
import { MotionPlot } from "./MotionPlot";
import { TRACKS, type Track } from "./preferences";
import { changePreferences } from "./usePreferences";
import type { View } from "./view";

const TRACK_NAMES: Record<Track, string> = { grippers: "Grippers", speed: "Speed", joints: "Joints" };

/** Grippers, speed and joints on the timeline's scale; which of them, everybody chooses. */
export function MotionPlots({ view }: { view: View }) {
  const { episode, preferences, fps } = useAnnotator();
  const { curves: kind, tracks } = preferences;
  const motion = useQuery({
    queryKey: ["motion", episode.id],
    queryFn: () => getMotion(episode.id),
    staleTime: Infinity,
  });
  const curves = useMemo(
    () => (motion.data ? curvesOf(motion.data, episode.dimension_names) : []),
    [motion.data, episode.dimension_names],
  );
  const grippers = episode.gripper_dimensions;
  const speeds = useMemo(
    () => (motion.data ? speedsOf(motion.data, episode.dimension_names, grippers, fps) : []),
    [motion.data, episode.dimension_names, grippers, fps],
  );
  const hidden = new Set(
    episode.dimension_names.flatMap((name, dimension) => (preferences.hidden.includes(name) ? [dimension] : [])),
  );
  const wanted = (curve: Curve) => (kind === "both" || curve.kind === kind) && !hidden.has(curve.dimension);
  const joints = episode.dimension_names
    .map((name, dimension) => ({ name, dimension }))
    .filter(({ dimension }) => !grippers.includes(dimension));

  return (
    <div className={classes.plots} data-testid="plots">
      <div className={classes.plotBar}>
        <Group gap={8} wrap="nowrap">
          <SegmentedControl
            size="xs"
            value={kind}
            onChange={(curves) => changePreferences({ curves })}
            data={[
              { value: "both", label: "Both" },
              { value: "state", label: "State" },
              { value: "action", label: "Action" },
            ]}
            aria-label="Which curves"
            data-testid="plot-kind"
          />
          <Popover trapFocus position="top-start" withinPortal>
            <Popover.Target>
              <Button
                size="compact-xs"
                variant="default"
                rightSection={<IconChevronDown size={12} />}
                data-testid="plot-choice"
              >
                Joints {joints.filter(({ dimension }) => !hidden.has(dimension)).length} of {joints.length}
              </Button>
            </Popover.Target>
            <Popover.Dropdown>
              <JointChoice
                joints={joints}
                hidden={hidden}
                onChange={(chosen) =>
                  changePreferences({ hidden: [...chosen].map((each) => episode.dimension_names[each] ?? "") })
                }
              />
            </Popover.Dropdown>
          </Popover>
          <Chip.Group
            multiple
            value={[...tracks]}
            onChange={(chosen) => changePreferences({ tracks: TRACKS.filter((each) => chosen.includes(each)) })}
          >
            <Group gap={4} wrap="nowrap" role="group" aria-label="Plots">
              {TRACKS.map((track) => (
                <Chip key={track} size="xs" value={track} data-testid={`track-${track}`}>
                  {TRACK_NAMES[track]}
                </Chip>
              ))}
            </Group>
          </Chip.Group>
        </Group>
        <Text size="xs" c="dimmed" truncate>
          state solid, action dashed
        </Text>
      </div>
      <ErrorNote error={motion.error} retry={() => void motion.refetch()} />
      {motion.isPending && <Skeleton style={{ flex: 1 }} />}
      {motion.data && (
        <>
          {grippers.length > 0 && tracks.includes("grippers") && (
            <MotionPlot
              label="Grippers"
              curves={curves.filter((curve) => grippers.includes(curve.dimension) && wanted(curve))}
              view={view}
              share={2}
            />
          )}
          {tracks.includes("speed") && <MotionPlot label="Speed" curves={speeds} view={view} share={2} />}
          {tracks.includes("joints") && (
            <MotionPlot
              label="Joints"
              curves={curves.filter((curve) => !grippers.includes(curve.dimension) && wanted(curve))}
              view={view}
              share={4}
            />
          )}
        </>
      )}
    </div>
  );
}

interface ChoiceProps {
  joints: { name: string; dimension: number }[];
  hidden: ReadonlySet<number>;
  onChange: (hidden: ReadonlySet<number>) => void;
}

function JointChoice({ joints, hidden, onChange }: ChoiceProps) {
  return (
    <>
      <Group gap="xs" mb="xs">
        <Button size="compact-xs" variant="subtle" onClick={() => onChange(new Set())}>
          All
        </Button>
        <Button
          size="compact-xs"
          variant="subtle"
          onClick={() => onChange(new Set(joints.map(({ dimension }) => dimension)))}
        >
          None
        </Button>
      </Group>
      <SimpleGrid cols={2} spacing="md" verticalSpacing={6}>
        {joints.map(({ name, dimension }) => (
          <Checkbox
            key={dimension}
            size="xs"
            label={name}
            checked={!hidden.has(dimension)}
            onChange={(event) => {
              const next = new Set(hidden);
              if (event.currentTarget.checked) next.delete(dimension);
              else next.add(dimension);
              onChange(next);
            }}
          />
        ))}
      </SimpleGrid>
    </>
  );
}
