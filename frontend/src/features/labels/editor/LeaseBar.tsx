import { Alert, Button, Group, Text } from "@mantine/core";
import { IconLock } from "@tabler/icons-react";
import { useState } from "react";

import { useCan } from "@/api/queries";

import type { DraftOut } from "./api";
import type { Lease } from "./useLease";

/** Somebody else has these labels, or this person in another window; nothing otherwise. */
export function LeaseBar({ draft, lease }: { draft: DraftOut; lease: Lease }) {
  const may = useCan("annotator");
  const [asking, setAsking] = useState(false);
  const theirs = draft.lease !== null && !draft.lease.mine;
  const text = theirs
    ? `${draft.lease?.holder_name ?? "Somebody"} is working on these labels. What they save appears here.`
    : lease.refused;
  if (text === null) return null;
  const takeOver = () => {
    setAsking(true);
    void lease.takeOver().finally(() => setAsking(false));
  };
  return (
    <Alert color="blue" p="xs" icon={<IconLock size={18} />} role="status" data-testid="leased">
      <Group justify="space-between" gap="sm">
        <Text size="sm">{text}</Text>
        {may && (
          <Button size="xs" variant="default" loading={asking} onClick={takeOver} data-testid="take-over">
            Take over
          </Button>
        )}
      </Group>
    </Alert>
  );
}
