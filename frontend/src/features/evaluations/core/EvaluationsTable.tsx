import { Anchor, Group, Text } from "@mantine/core";
import { Link, useNavigate } from "react-router";

import { DataTable, type Column, type List } from "@/ui/DataTable";
import { formatNumber, formatPercent, plural } from "@/ui/format";
import { JobProgress } from "@/ui/JobProgress";
import { isOver } from "@/ui/StateBadge";
import { Time } from "@/ui/Time";

import type { Evaluation } from "./hooks";
import { Interval } from "./Interval";
import { askedOptions, optionsText, useKinds, type RobotKind } from "@/features/robots/core/tasks";

/** What was asked, in one line. */
export function what(evaluation: Evaluation, kinds: readonly RobotKind[]): string {
  const { settings } = evaluation;
  if (evaluation.kind === "closed_loop") {
    const name = typeof settings.task === "string" ? settings.task : "";
    const task = kinds.flatMap(({ tasks }) => tasks).find((each) => each.name === name);
    const options = optionsText(task, askedOptions(settings));
    return `${task?.title ?? name}${options && ` (${options})`}, ${plural(Number(settings.episodes ?? 0), "episode")}`;
  }
  return `${evaluation.version_name ?? "a dataset version"}${settings.held_out === true ? ", held-out episodes" : ""}`;
}

interface Props {
  evaluations: readonly Evaluation[];
  /** where the table stands: the checkpoint's own page needs no column for it */
  of?: "checkpoint";
  select?: Column<Evaluation>;
  /** the server sorts them, by what `SORTED` names */
  list?: List;
}

/** Columns that the server can sort by. */
export const SORTED = [
  { key: "run", sort: true },
  { key: "result", sort: true },
  { key: "created", sort: true },
] as const;

export function EvaluationsTable({ evaluations, of, select, list }: Props) {
  const navigate = useNavigate();
  const kinds = useKinds();
  const columns: Column<Evaluation>[] = [
    ...(select ? [select] : []),
    {
      key: "what",
      header: "Evaluation",
      cell: (evaluation) => (
        <>
          <Anchor
            component={Link}
            to={`/evaluations/${evaluation.id}`}
            size="sm"
            fw={500}
            data-testid="evaluation-link"
          >
            {evaluation.kind === "closed_loop" ? "Closed loop" : "Open loop"}
          </Anchor>
          <Text size="xs" c="dimmed">
            {what(evaluation, kinds)}
          </Text>
        </>
      ),
    },
    ...(of === "checkpoint"
      ? []
      : [
          {
            key: "run",
            header: "Checkpoint",
            width: 260,
            sort: (evaluation: Evaluation) => evaluation.checkpoint_name,
            cell: (evaluation: Evaluation) => (
              <Anchor component={Link} to={`/checkpoints/${evaluation.checkpoint_id}`} size="sm" c="inherit">
                {evaluation.checkpoint_name}
              </Anchor>
            ),
          },
        ]),
    {
      key: "result",
      header: "Result",
      width: 260,
      sort: ({ success_rate, error_of_range }) => success_rate ?? (error_of_range === null ? null : -error_of_range),
      cell: (evaluation) => <Result evaluation={evaluation} />,
    },
    {
      key: "created",
      header: "Started",
      width: 110,
      sort: ({ created_at }) => created_at,
      cell: (evaluation) => (
        <>
          <Time value={evaluation.created_at} />
          {of !== "checkpoint" && (
            <Text size="xs" c="dimmed" lineClamp={1}>
              {evaluation.created_by_name && `by ${evaluation.created_by_name}`}
            </Text>
          )}
        </>
      ),
    },
  ];
  return (
    <DataTable
      label="Evaluations"
      rows={evaluations}
      list={list}
      columns={columns}
      rowKey={(evaluation) => evaluation.id}
      rowTestId="evaluation-row"
      minWidth={of === "checkpoint" ? 480 : 820}
      onRowClick={(evaluation) => void navigate(`/evaluations/${evaluation.id}`)}
    />
  );
}

function Result({ evaluation }: { evaluation: Evaluation }) {
  const { job, success_rate, interval, mean_reward, error_of_range, reasoning_match } = evaluation;
  if (job.state !== "done" || (success_rate === null && error_of_range === null))
    return (
      <>
        <JobProgress job={job} compact />
        <Text size="xs" c={job.state === "failed" ? "red" : "dimmed"} lineClamp={1}>
          {job.state === "failed" ? job.cause : isOver(job.state) ? "" : job.note}
        </Text>
      </>
    );
  if (success_rate !== null)
    return (
      <>
        <Group gap="xs" wrap="nowrap">
          <Text size="sm" fw={600} w={48}>
            {formatPercent(success_rate)}
          </Text>
          <div style={{ flex: 1 }}>
            <Interval rate={success_rate} interval={interval} compact />
          </div>
        </Group>
        {mean_reward !== null && (
          <Text size="xs" c="dimmed">
            success, mean reward {formatNumber(mean_reward, 3)}
          </Text>
        )}
      </>
    );
  return (
    <>
      <Text size="sm" fw={600}>
        {formatPercent(error_of_range ?? 0, 1)} of range
      </Text>
      <Text size="xs" c="dimmed">
        action error{reasoning_match !== null && `, substeps match ${formatPercent(reasoning_match)}`}
      </Text>
    </>
  );
}
