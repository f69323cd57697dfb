import { Button, Checkbox, Group, Popover, SegmentedControl, SimpleGrid, Skeleton, Text } from "@mantine/core";
import { IconChevronDown } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useMemo, useState } from "react";

import { ErrorNote } from "@/ui/ErrorNote";

import classes from "./annotate.module.css";
import { getMotion } from "./api";
import { useAnnotator } from "./context";
import { curvesOf, type Curve } from "./curves";
import { MotionPlot } from "./MotionPlot";
import type { View } from "./view";

type Kind = "state" | "action" | "both";

/** Joints above, grippers below, on the timeline's scale. */
export function MotionPlots({ view }: { view: View }) {
  const { episode } = useAnnotator();
  const motion = useQuery({
    queryKey: ["motion", episode.id],
    queryFn: () => getMotion(episode.id),
    staleTime: Infinity,
  });
  const [kind, setKind] = useState<Kind>("both");
  const [hidden, setHidden] = useState<ReadonlySet<number>>(new Set());
  const curves = useMemo(
    () => (motion.data ? curvesOf(motion.data, episode.dimension_names) : []),
    [motion.data, episode.dimension_names],
  );
  const grippers = episode.gripper_dimensions;
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
            onChange={(value) => setKind(value)}
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
              <JointChoice joints={joints} hidden={hidden} onChange={setHidden} />
            </Popover.Dropdown>
          </Popover>
        </Group>
        <Text size="xs" c="dimmed" truncate>
          state solid, action dashed
        </Text>
      </div>
      <ErrorNote error={motion.error} retry={() => void motion.refetch()} />
      {motion.isPending && <Skeleton style={{ flex: 1 }} />}
      {motion.data && (
        <>
          <MotionPlot
            label="Joints"
            curves={curves.filter((curve) => !grippers.includes(curve.dimension) && wanted(curve))}
            view={view}
            share={5}
          />
          {grippers.length > 0 && (
            <MotionPlot
              label="Grippers"
              curves={curves.filter((curve) => grippers.includes(curve.dimension) && wanted(curve))}
              view={view}
              share={2}
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
