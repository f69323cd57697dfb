import { Alert, Badge, Button, Card, Group, SimpleGrid, Text, Title, Tooltip } from "@mantine/core";
import { IconDeviceGamepad2, IconPlayerPlay } from "@tabler/icons-react";
import { Link } from "react-router";

import { ErrorNote } from "@/ui/ErrorNote";
import { formatNumber } from "@/ui/format";
import { RoleButton } from "@/ui/RoleButton";
import { Time } from "@/ui/Time";

import { CameraFrame } from "./CameraFrame";
import { useArm, useStop, type Robot } from "./core/hooks";
import classes from "./robots.module.css";
import { lookOf, troubleOf } from "./core/status";
import { StopButton } from "./core/StopButton";

/** One robot: what it sees, how it is, and the stop that anybody may press. */
export function RobotCard({ robot }: { robot: Robot }) {
  const stop = useStop();
  const arm = useArm();
  const look = lookOf(robot);
  const trouble = troubleOf(robot);
  const { state, cameras, tick_hz: tickHz } = robot.status;
  return (
    <Card
      className={classes.card}
      component="article"
      aria-label={robot.name}
      data-testid="robot-card"
      data-name={robot.name}
    >
      <div className={classes.head}>
        <div>
          <Group gap="xs">
            <Title order={2}>{robot.name}</Title>
            <Tooltip label={look.help}>
              <Badge color={look.color} data-testid="robot-state" data-state={look.label}>
                {look.label}
              </Badge>
            </Tooltip>
          </Group>
          <Text size="sm" c="dimmed">
            {robot.kind}
            {robot.present && tickHz > 0 && `, ${formatNumber(tickHz, 3)} Hz`}
            {!robot.present && (
              <>
                , last heard from <Time value={robot.seen_at} />
              </>
            )}
          </Text>
        </div>
        <StopButton size="md" onStop={() => stop.mutate(robot.name)} data-testid="robot-stop" />
      </div>
      {robot.present && state === "stopped" && (
        <Text size="sm" mb="xs">
          {look.help}
        </Text>
      )}
      {/* at the left, away from every stop; what comes and goes is last */}
      <Group gap="xs" mb="sm">
        <Button
          component={Link}
          to={`/live/${encodeURIComponent(robot.name)}`}
          variant="default"
          leftSection={<IconDeviceGamepad2 size={18} />}
          data-testid="robot-live"
        >
          Open the live page
        </Button>
        {state === "stopped" && (
          <RoleButton
            needs="operator"
            variant="default"
            leftSection={<IconPlayerPlay size={18} />}
            loading={arm.isPending}
            because={robot.present ? null : "It is away; start its host first."}
            onClick={() => arm.mutate(robot.name)}
            data-testid="robot-arm"
          >
            Re-arm
          </RoleButton>
        )}
      </Group>
      <ErrorNote
        error={robot.present && state === "stopped" ? null : stop.failureReason}
        title="The stop did not arrive: use the robot's own emergency stop"
      />
      <ErrorNote error={arm.error} />
      {trouble && (
        <Alert color="orange" mb="sm" data-testid="robot-trouble">
          {trouble}
        </Alert>
      )}
      {cameras.length > 0 && (
        <SimpleGrid cols={{ base: 1, xs: Math.min(cameras.length, 3) }} spacing="sm">
          {cameras.map((camera) => (
            <CameraFrame key={camera.name} robot={robot.name} camera={camera.name} present={robot.present} />
          ))}
        </SimpleGrid>
      )}
    </Card>
  );
}
