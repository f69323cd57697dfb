import { Button, Card, Checkbox, Group, SegmentedControl, Text } from "@mantine/core";
import { IconChecklist, IconPlus, IconSearch } from "@tabler/icons-react";
import { useState } from "react";
import { useNavigate } from "react-router";

import type { Schema } from "@/api/client";
import { CheckpointSelect } from "@/features/checkpoints/core/CheckpointSelect";
import type { Column } from "@/ui/DataTable";
import { EmptyState } from "@/ui/EmptyState";
import { plural } from "@/ui/format";
import { Loaded } from "@/ui/Loaded";
import { PageHeader } from "@/ui/PageHeader";
import { RoleButton } from "@/ui/RoleButton";
import { SearchField } from "@/ui/SearchField";
import { useFilters, useOrder, useWords } from "@/ui/search";

import { EvaluationsTable, SORTED } from "./core/EvaluationsTable";
import { useChosenEvaluations, useEvaluations, type Evaluation } from "./core/hooks";

const KINDS = ["closed_loop", "open_loop"] as const;

export function EvaluationsPage() {
  const [search, change] = useFilters();
  const [order, sort, onOrder] = useOrder<Schema<"EvaluationSort">>(SORTED);
  const words = useWords();
  const [chosen, setChosen] = useState<readonly string[]>([]);
  const navigate = useNavigate();
  const kind = KINDS.find((each) => each === search.get("kind"));
  const checkpoint = search.get("checkpoint");
  const query = useEvaluations({
    ...sort,
    search: words || undefined,
    kind,
    checkpoint_id: checkpoint ?? undefined,
  });
  const picked = useChosenEvaluations(chosen).data?.filter(({ id }) => chosen.includes(id)) ?? [];
  const all = words === "" && kind === undefined && checkpoint === null;
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
      <Group mb="md" gap="sm">
        <SearchField label="Search evaluations" placeholder="Search run, step" testId="evaluations-search" />
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
        <CheckpointSelect
          aria-label="Checkpoint"
          placeholder="Any checkpoint"
          clearable
          w={280}
          value={checkpoint}
          onChange={(value) => change("checkpoint", value)}
        />
        <Group gap="xs" ml="auto" mih={36}>
          {picked.length > 0 ? (
            <>
              <Text size="sm" c="dimmed">
                {comparable(picked) ?? `${picked.length} selected`}
              </Text>
              <Button
                variant="light"
                disabled={picked.length !== 2 || comparable(picked) !== null}
                data-testid="evaluations-compare"
                onClick={() => void navigate(`/evaluations/compare?ids=${picked.map(({ id }) => id).join(",")}`)}
              >
                Compare
              </Button>
            </>
          ) : (
            query.data && (
              <Text size="sm" c="dimmed">
                {plural(query.data.total, "evaluation")}
              </Text>
            )
          )}
        </Group>
      </Group>
      <Loaded query={query} lines={6}>
        {({ rows, total, served }) => (
          <Card padding={0}>
            {total === 0 && all ? (
              <EmptyState icon={IconChecklist} title="No evaluation yet" action={start}>
                Let a checkpoint act in the simulator and see how often it succeeds, with a video of every episode.
              </EmptyState>
            ) : total === 0 ? (
              <EmptyState icon={IconSearch} title="No evaluation matches">
                Change the search or the filter.
              </EmptyState>
            ) : (
              <EvaluationsTable evaluations={rows} select={select} list={{ ...served, total, order, onOrder }} />
            )}
          </Card>
        )}
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
