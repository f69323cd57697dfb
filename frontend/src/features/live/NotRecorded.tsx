import { Alert, Text } from "@mantine/core";
import { IconNotebookOff } from "@tabler/icons-react";
import { useMutationState, useQuery } from "@tanstack/react-query";
import { useState } from "react";

import { api, ok } from "@/api/client";

import { useNow } from "./hooks";

interface Answer {
  not_recorded?: string[];
  audit_entry?: string | null;
}

/** A stop's answer waits for nobody: most entries of the audit log are written a moment after it. */
const FIRST_LOOK_MS = 800;
const LONGEST_PAUSE_MS = 30_000;

/** What was done and could not be written down, of the newest request that says so; and what a restart would forget. */
export function NotRecorded() {
  const risk = useNow(({ status }) => status.at_risk) ?? null;
  const answers = useMutationState({
    filters: { status: "success" },
    select: ({ state }) => ({
      at: state.submittedAt,
      missing: (state.data as Answer | undefined)?.not_recorded,
      entry: (state.data as Answer | undefined)?.audit_entry ?? null,
    }),
  });
  const newest = answers.filter(({ missing }) => missing !== undefined).at(-1);
  const [read, setRead] = useState(0);
  const unread = newest !== undefined && newest.at > read;
  const late = useIsLate(unread ? newest.entry : null);
  const told = unread ? (newest.missing ?? []) : [];
  const missing = newest?.entry && !late ? told.slice(0, -1) : told;
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

/** Whether an entry of the audit log is still not written a moment after the deed; asked for again until it is. */
function useIsLate(entry: string | null): boolean {
  const written = useQuery({
    queryKey: ["written", entry],
    enabled: entry !== null,
    retry: false,
    queryFn: async () => {
      await new Promise((resolve) => setTimeout(resolve, FIRST_LOOK_MS));
      return ok(api.GET("/api/audit/{entry_id}/written", { params: { path: { entry_id: entry ?? "" } } }));
    },
    refetchInterval: ({ state }) =>
      state.data?.written
        ? false
        : Math.min(LONGEST_PAUSE_MS, 500 * 2 ** (state.dataUpdateCount + state.errorUpdateCount)),
  });
  return written.isError || written.data?.written === false;
}
