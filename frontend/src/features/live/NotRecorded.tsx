import { Alert, Text } from "@mantine/core";
import { IconNotebookOff } from "@tabler/icons-react";
import { useMutationState } from "@tanstack/react-query";

import { useNow } from "./hooks";

/** What was done and could not be written down, of the newest request that says so; and what a restart would forget. */
export function NotRecorded() {
  const risk = useNow(({ status }) => status.at_risk) ?? null;
  const answers = useMutationState({
    filters: { status: "success" },
    select: ({ state }) => (state.data as { not_recorded?: string[] } | undefined)?.not_recorded,
  });
  const missing = answers.filter((answer) => answer !== undefined).at(-1) ?? [];
  const said = [...new Set(risk === null ? missing : [risk, ...missing])];
  if (said.length === 0) return null;
  const words = said.join(" ");
  return (
    <Alert
      color="yellow"
      variant="light"
      py={6}
      icon={<IconNotebookOff size={18} />}
      role="status"
      data-testid="live-not-recorded"
    >
      <Text size="sm">{missing.length > 0 ? `It was done. ${words}` : words}</Text>
    </Alert>
  );
}
