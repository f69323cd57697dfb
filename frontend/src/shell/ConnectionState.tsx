import { Box, Group, Text, Tooltip } from "@mantine/core";
import { useWindowEvent } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";

import { ApiError, type Schema } from "@/api/client";
import { useConnection, type Connection } from "@/api/events";
import { events, healthQuery } from "@/api/queries";
import { plural } from "@/ui/format";

interface State {
  color: string;
  label: string;
  help: string;
}

/** One line on how things are between this page and the studio, worst first. */
function connectionState(connection: Connection, health: Schema<"Health"> | undefined, lost: boolean): State {
  if (lost)
    return {
      color: "red",
      label: "Not connected",
      help: "The studio does not answer. What is running goes on; this page catches up when it is back.",
    };
  if (health?.status === "degraded") {
    const wrong = [
      health.database === "ok" ? "" : `database: ${health.database}`,
      health.broker === "ok" ? "" : `broker: ${health.broker}`,
      health.disk === "ok" ? "" : `disk: ${health.disk}`,
      health.store === "ok" ? "" : `store: ${health.store}`,
    ].filter(Boolean);
    return { color: "red", label: "Degraded", help: wrong.join("; ") || "Part of the studio is not working." };
  }
  if (health?.workers === 0)
    return {
      color: "orange",
      label: "No worker",
      help: "No worker is running: recordings, trainings and evaluations wait. Start one with `studio worker`.",
    };
  if (connection === "polling")
    return {
      color: "yellow",
      label: "Slow updates",
      help: "The live connection is down, the page asks every few seconds instead. A proxy may not pass WebSockets.",
    };
  if (connection === "connecting") return { color: "gray", label: "Connecting", help: "Opening the live connection." };
  return { color: "teal", label: "Live", help: "Changes appear at once." };
}

export function ConnectionState({ narrow }: { narrow: boolean }) {
  const connection = useConnection(events);
  const { data, error, refetch } = useQuery(healthQuery);
  useWindowEvent("offline", () => void refetch());
  // a socket whose other end is gone says "live" until it has been silent for long
  const lost = error instanceof ApiError && (connection !== "live" || error.status === 0);
  const { color, label, help } = connectionState(connection, data, lost);
  const more =
    data && !lost
      ? ` Version ${data.version}; ${plural(data.workers, "worker")} and ${plural(data.robots, "robot")}.`
      : "";
  return (
    <Tooltip label={help + more} position="right">
      <Group
        gap={8}
        wrap="nowrap"
        px={narrow ? 0 : 10}
        justify={narrow ? "center" : undefined}
        mih={28}
        data-testid="connection"
        data-state={connection}
        role="status"
      >
        <Box w={9} h={9} bg={`${color}.6`} style={{ borderRadius: 9, flexShrink: 0 }} />
        {!narrow && (
          <Text size="xs" c="dimmed">
            {label}
          </Text>
        )}
      </Group>
    </Tooltip>
  );
}
