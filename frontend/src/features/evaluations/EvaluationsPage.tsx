import { Button, Card, Checkbox, Group, SegmentedControl, Select, Text } from "@mantine/core";
import { IconChecklist, IconPlus, IconSearch } from "@tabler/icons-react";
import { useState } from "react";
import { useNavigate } from "react-router";

import type { Column } from "@/ui/DataTable";
import { EmptyState } from "@/ui/EmptyState";
import { Loaded } from "@/ui/Loaded";
import { PageHeader } from "@/ui/PageHeader";
import { RoleButton } from "@/ui/RoleButton";
import { useFilters } from "@/ui/search";
import { isOver } from "@/ui/StateBadge";

import { EvaluationsTable } from "./core/EvaluationsTable";
import { useEvaluations, type Evaluation } from "./core/hooks";

export function EvaluationsPage() {
  const [search, change] = useFilters();
  const [chosen, setChosen] = useState<readonly string[]>([]);
  const navigate = useNavigate();
  const query = useEvaluations();
  const kind = search.get("kind");
  const checkpoint = search.get("checkpoint");
  const start = (
    <RoleButton
      needs="operator"
      leftSection={<IconPlus size={16} />}
      data-testid="new-evaluation"
      onClick={() => void navigate(`/evaluations/new${checkpoint === null ? "" : `?checkpoint=${checkpoint}`}`)}
    >
      New evaluation
    </RoleButton>
  );
  const select: Column<Evaluation> = {
    key: "select",
    header: "",
    width: 40,
    cell: (evaluation) => (
      <Checkbox
        size="xs"
        aria-label={`Select the evaluation of ${evaluation.checkpoint_name}`}
        data-testid="evaluation-select"
        checked={chosen.includes(evaluation.id)}
        onChange={(event) =>
          setChosen(
            event.currentTarget.checked ? [...chosen, evaluation.id] : chosen.filter((each) => each !== evaluation.id),
          )
        }
      />
    ),
  };
  return (
    <>
      <PageHeader
        title="Evaluations"
        subtitle="Closed loop: the policy acts in the simulator. Open loop: its predictions against recorded episodes."
        actions={start}
      />
      <Loaded query={query} lines={6}>
        {(all) => {
          if (all.length === 0)
            return (
              <Card>
                <EmptyState icon={IconChecklist} title="No evaluation yet" action={start}>
                  Let a checkpoint act in the simulator and see how often it succeeds, with a video of every episode.
                </EmptyState>
              </Card>
            );
          const rows = all
            .filter(
              (each) =>
                (kind === null || each.kind === kind) && (checkpoint === null || each.checkpoint_id === checkpoint),
            )
            .sort((a, b) => Number(isOver(a.job.state)) - Number(isOver(b.job.state)));
          const checkpoints = new Map(all.map((each) => [each.checkpoint_id, each.checkpoint_name]));
          const picked = all.filter(({ id }) => chosen.includes(id));
          return (
            <>
              <Group mb="md" gap="sm">
                <SegmentedControl
                  aria-label="Which evaluations"
                  value={kind ?? "all"}
                  onChange={(value) => change("kind", value === "all" ? null : value)}
                  data={[
                    { value: "all", label: "All" },
                    { value: "closed_loop", label: "Closed loop" },
                    { value: "open_loop", label: "Open loop" },
                  ]}
                  data-testid="evaluations-kind"
                />
                <Select
                  aria-label="Checkpoint"
                  placeholder="Any checkpoint"
                  clearable
                  searchable
                  w={300}
                  value={checkpoint}
                  onChange={(value) => change("checkpoint", value)}
                  data={[...checkpoints].map(([value, label]) => ({ value, label }))}
                />
                <Group gap="xs" ml="auto" mih={36}>
                  {picked.length > 0 && (
                    <>
                      <Text size="sm" c="dimmed">
                        {comparable(picked) ?? `${picked.length} selected`}
                      </Text>
                      <Button
                        variant="light"
                        disabled={picked.length !== 2 || comparable(picked) !== null}
                        data-testid="evaluations-compare"
                        onClick={() =>
                          void navigate(`/evaluations/compare?ids=${picked.map(({ id }) => id).join(",")}`)
                        }
                      >
                        Compare
                      </Button>
                    </>
                  )}
                </Group>
              </Group>
              <Card padding={0}>
                {rows.length === 0 ? (
                  <EmptyState icon={IconSearch} title="No evaluation matches">
                    Change the filter.
                  </EmptyState>
                ) : (
                  <EvaluationsTable evaluations={rows} select={select} />
                )}
              </Card>
            </>
          );
        }}
      </Loaded>
    </>
  );
}

/** Why the selected ones cannot be compared; null if they can, or are not two yet. */
function comparable(picked: readonly Evaluation[]): string | null {
  if (picked.length > 2) return "Two can be compared at a time.";
  if (picked.length === 2 && picked[0]?.kind !== picked[1]?.kind) return "Compare two of the same kind.";
  return null;
}
