import { Anchor, Badge, Group, Table, Text, Tooltip } from "@mantine/core";
import { IconPackage } from "@tabler/icons-react";
import { Link } from "react-router";

import { CheckpointActions } from "@/features/checkpoints/core/CheckpointActions";
import { useCheckpointsOf, type Checkpoint } from "@/features/checkpoints/core/hooks";
import { EmptyState } from "@/ui/EmptyState";
import { formatBytes, formatCount, formatNumber, formatPercent } from "@/ui/format";
import { Loaded } from "@/ui/Loaded";
import { Section } from "@/ui/Section";
import { Time } from "@/ui/Time";

/** Checkpoints of a run as they appear, newest first, with what can be done with each. */
export function RunCheckpoints({ runId, saveEvery, live }: { runId: string; saveEvery?: number; live: boolean }) {
  const query = useCheckpointsOf(runId);
  return (
    <Section title="Checkpoints" data-testid="run-checkpoints" flush={(query.data?.length ?? 0) > 0}>
      <Loaded query={query} lines={2}>
        {(checkpoints) =>
          checkpoints.length === 0 ? (
            <EmptyState icon={IconPackage} title="No checkpoint yet">
              {live
                ? `One is saved ${saveEvery ? `every ${formatCount(saveEvery)} steps and ` : ""}after the last step.`
                : "This run saved none, or they were deleted."}
            </EmptyState>
          ) : (
            <Rows checkpoints={checkpoints} />
          )
        }
      </Loaded>
    </Section>
  );
}

function Rows({ checkpoints }: { checkpoints: readonly Checkpoint[] }) {
  const losses = checkpoints.flatMap(({ val_loss }) => (val_loss === null ? [] : [val_loss]));
  const best = losses.length > 1 ? Math.min(...losses) : null;
  const judged = checkpoints.some(({ best_success_rate }) => best_success_rate !== null);
  const validated = losses.length > 0;
  return (
    <Table.ScrollContainer minWidth={360}>
      <Table aria-label="Checkpoints of this run">
        <Table.Thead>
          <Table.Tr>
            <Table.Th>Step</Table.Th>
            {!validated && <Table.Th ta="right">Size</Table.Th>}
            {validated && (
              <Table.Th ta="right">
                <Tooltip label="Loss on the held-out episodes">
                  <span style={{ whiteSpace: "nowrap" }}>Held-out</span>
                </Tooltip>
              </Table.Th>
            )}
            {judged && <Table.Th ta="right">Success</Table.Th>}
            <Table.Th>Saved</Table.Th>
            <Table.Th />
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {checkpoints.map((checkpoint) => (
            <Table.Tr
              key={checkpoint.id}
              data-testid="run-checkpoint"
              data-id={checkpoint.id}
              data-step={checkpoint.step}
            >
              <Table.Td>
                <Group gap={6} wrap="nowrap">
                  <Anchor component={Link} to={`/checkpoints/${checkpoint.id}`} size="sm" fw={500}>
                    {formatCount(checkpoint.step)}
                  </Anchor>
                  {best !== null && checkpoint.val_loss === best && (
                    <Badge size="xs" color="teal">
                      best
                    </Badge>
                  )}
                </Group>
              </Table.Td>
              {!validated && (
                <Table.Td ta="right">
                  <Text size="sm" style={{ whiteSpace: "nowrap" }}>
                    {formatBytes(checkpoint.size_bytes)}
                  </Text>
                </Table.Td>
              )}
              {validated && (
                <Table.Td ta="right">
                  {checkpoint.val_loss === null ? "-" : formatNumber(checkpoint.val_loss, 3)}
                </Table.Td>
              )}
              {judged && (
                <Table.Td ta="right">
                  {checkpoint.best_success_rate === null ? "-" : formatPercent(checkpoint.best_success_rate)}
                </Table.Td>
              )}
              <Table.Td>
                <Time value={checkpoint.created_at} />
              </Table.Td>
              <Table.Td>
                <CheckpointActions checkpoint={checkpoint} />
              </Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}
