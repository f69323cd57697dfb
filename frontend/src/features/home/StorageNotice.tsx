import { Alert, Group, List, Stack, Text } from "@mantine/core";
import { useMutation, useQuery } from "@tanstack/react-query";

import { api, ok, type Schema } from "@/api/client";
import { queryClient, useCan } from "@/api/queries";
import { notifyError } from "@/ui/confirm";
import { ConfirmButton } from "@/ui/ConfirmButton";
import { formatBytes, plural } from "@/ui/format";
import { RoleButton } from "@/ui/RoleButton";

const KEY = ["storage"];
const SLOW_MS = 300_000;
const BUSY_MS = 1_000;

/** For administrators: a disk that runs full, files without rows, rows without files. Nothing where all is well. */
export function StorageNotice() {
  const admin = useCan("admin");
  const { data } = useQuery({
    queryKey: KEY,
    queryFn: () => ok(api.GET("/api/storage")),
    enabled: admin,
    refetchInterval: ({ state }) => (state.data?.busy ? BUSY_MS : SLOW_MS),
  });
  const decide = useMutation({
    mutationFn: (how: "adopt" | "lose") =>
      ok(how === "adopt" ? api.POST("/api/storage/adopt") : api.POST("/api/storage/lose")),
    onSuccess: (storage) => {
      queryClient.setQueryData(KEY, storage);
      void queryClient.invalidateQueries({ queryKey: ["dataset"] });
    },
    onError: (error) => notifyError(error, "Nothing was moved"),
  });
  if (!data || !isOdd(data)) return null;
  const adoptable = data.strays.filter((stray) => stray.adoptable).map(({ kind, count }) => plural(count, kind));
  const waits = data.busy || decide.isPending;
  return (
    <Alert color="orange" title="The data folder needs attention" mb="md" data-testid="storage-notice">
      <Stack gap="xs">
        {data.disk !== "ok" && <Text size="sm">The disk is {data.disk}.</Text>}
        {data.forgotten !== null && <Text size="sm">At the last start: {data.forgotten}.</Text>}
        {data.strays.length > 0 && (
          <>
            <Text size="sm">
              Files that the database knows nothing of. They stay until you decide: adopting takes episodes into the
              dataset “Recovered”, versions, runs and checkpoints under their own names; lost/ is kept for 30 days.
            </Text>
            <List size="sm">
              {data.strays.map((stray) => (
                <List.Item key={stray.kind} data-testid={`storage-stray-${stray.kind.replace(" ", "-")}`}>
                  {strayText(stray)}
                </List.Item>
              ))}
            </List>
          </>
        )}
        {data.missing_count > 0 && (
          <Text size="sm">
            Missing, and perhaps in a backup: {data.missing.join(", ")}
            {data.missing_count > data.missing.length && ` and ${data.missing_count - data.missing.length} more`}.
          </Text>
        )}
        {data.note !== null && (
          <Text size="sm" data-testid="storage-note">
            {data.note}
          </Text>
        )}
        <Group gap="sm">
          {adoptable.length > 0 && (
            <RoleButton
              needs="admin"
              size="compact-sm"
              loading={waits}
              onClick={() => decide.mutate("adopt")}
              data-testid="storage-adopt"
            >
              Adopt {adoptable.join(", ")}
            </RoleButton>
          )}
          {data.strays.length > 0 && (
            <ConfirmButton
              needs="admin"
              size="compact-sm"
              variant="default"
              loading={waits}
              question="Move them to lost/?"
              explanation="Nothing in the studio shows them then. They stay in lost/ for 30 days; whoever has the machine can take them out."
              confirmLabel="Move to lost/"
              action={() => decide.mutateAsync("lose")}
              data-testid="storage-lose"
            >
              Move to lost/
            </ConfirmButton>
          )}
          {data.strays.length === 0 && data.forgotten !== null && (
            <RoleButton
              needs="admin"
              size="compact-sm"
              variant="default"
              loading={waits}
              onClick={() => decide.mutate("lose")}
              data-testid="storage-noted"
            >
              Dismiss
            </RoleButton>
          )}
        </Group>
      </Stack>
    </Alert>
  );
}

export function isOdd(storage: Schema<"StorageOut">): boolean {
  const { disk, strays, missing_count, forgotten, note } = storage;
  return disk !== "ok" || strays.length > 0 || missing_count > 0 || forgotten !== null || note !== null;
}

/** 4 episode files, 12 MB: episodes/…, … */
export function strayText({ kind, count, size_bytes, names }: Schema<"StrayOut">): string {
  const more = count > names.length ? ` and ${count - names.length} more` : "";
  return `${plural(count, kind)}, ${formatBytes(size_bytes)}: ${names.join(", ")}${more}`;
}
