import { Alert, Text } from "@mantine/core";
import { IconNotebookOff } from "@tabler/icons-react";
import { useMutationState } from "@tanstack/react-query";
import { useState } from "react";

import { useNow } from "./hooks";

/** What was done and could not be written down, of the newest request that says so; and what a restart would forget. */
export function NotRecorded() {
  const risk = useNow(({ status }) => status.at_risk) ?? null;
  const answers = useMutationState({
    filters: { status: "success" },
    select: ({ state }) => ({
      at: state.submittedAt,
      missing: (state.data as { not_recorded?: string[] } | undefined)?.not_recorded,
    }),
  });
  const newest = answers.filter(({ missing }) => missing !== undefined).at(-1);
  const [read, setRead] = useState(0);
  const missing = newest && newest.at > read ? (newest.missing ?? []) : [];
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
      withCloseButton={missing.length > 0}
      closeButtonLabel="Close what could not be written down"
      onClose={() => setRead(newest?.at ?? 0)}
      data-testid="live-not-recorded"
    >
      <Text size="sm">{missing.length > 0 ? `It was done. ${words}` : words}</Text>
    </Alert>
  );
}
