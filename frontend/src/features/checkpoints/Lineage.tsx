import { Anchor, Text } from "@mantine/core";
import { IconArrowRight } from "@tabler/icons-react";
import { Fragment, type ReactNode } from "react";
import { Link } from "react-router";

import type { Evaluation } from "@/features/evaluations/core/hooks";
import { Sources } from "@/features/training/core/Sources";
import { formatCount, formatPercent, plural } from "@/ui/format";

import { useCheckpointsById, type CheckpointDetail } from "./core/hooks";
import { chain, type Link as ChainLink } from "./lineage";
import classes from "./Lineage.module.css";

interface Node {
  key: string;
  kind: string;
  here?: boolean;
  content: ReactNode;
}

/** Where a checkpoint comes from and what became of it, from left to right. */
export function Lineage({
  checkpoint,
  evaluations,
}: {
  checkpoint: CheckpointDetail;
  evaluations: readonly Evaluation[];
}) {
  const ids = checkpoint.ancestors.filter(({ kind }) => kind === "checkpoint").map(({ id }) => id);
  const known = useCheckpointsById(ids).flatMap(({ data }) => (data ? [data] : []));
  const links = chain(checkpoint, checkpoint.ancestors, known);
  const nodes: Node[] = links.flatMap((link) => nodesOf(link, checkpoint.id));
  nodes.push({
    key: "evaluations",
    kind: "Evaluations",
    content: <Results checkpoint={checkpoint} evaluations={evaluations} />,
  });
  return (
    <ol className={classes.chain} aria-label="Lineage" style={{ margin: 0, paddingLeft: 0 }} data-testid="lineage">
      {nodes.map((node, index) => (
        <Fragment key={node.key}>
          {index > 0 && (
            <li className={classes.arrow} aria-hidden style={{ listStyle: "none" }}>
              <IconArrowRight size={18} />
            </li>
          )}
          <li className={classes.node} data-here={node.here ? true : undefined} style={{ listStyle: "none" }}>
            <Text size="xs" c="dimmed" mb={2}>
              {node.kind}
            </Text>
            {node.content}
          </li>
        </Fragment>
      ))}
    </ol>
  );
}

function nodesOf(link: ChainLink, here: string): Node[] {
  const { checkpoint, models, run, sources, stage } = link;
  const nodes: Node[] = [];
  if (models.length > 0)
    nodes.push({
      key: `models-${checkpoint.id}`,
      kind: models.length > 1 ? "Models" : "Model",
      content: models.map((model) => (
        <div key={model.id}>
          <Anchor component={Link} to="/models" size="sm" fw={500}>
            {model.name}
          </Anchor>{" "}
          <Text span size="xs" c="dimmed">
            {model.kind}
          </Text>
        </div>
      )),
    });
  nodes.push({
    key: `run-${checkpoint.id}`,
    kind: `Run, stage ${stage ?? "?"}`,
    content: (
      <>
        {run ? (
          <Anchor component={Link} to={`/training/${run.id}`} size="sm" fw={500}>
            {run.name}
          </Anchor>
        ) : (
          <Text size="sm">-</Text>
        )}
        {sources.length > 0 && (
          <>
            <Text size="xs" c="dimmed" mt={4}>
              trained on
            </Text>
            <Sources sources={sources} />
          </>
        )}
      </>
    ),
  });
  nodes.push({
    key: checkpoint.id,
    kind: checkpoint.id === here ? "This checkpoint" : "Checkpoint",
    here: checkpoint.id === here,
    content: (
      <>
        {checkpoint.id === here ? (
          <Text size="sm" fw={600}>
            step {formatCount(checkpoint.step ?? 0)}
          </Text>
        ) : (
          <Anchor component={Link} to={`/checkpoints/${checkpoint.id}`} size="sm" fw={500}>
            step {checkpoint.step === null ? "?" : formatCount(checkpoint.step)}
          </Anchor>
        )}
        {checkpoint.available === false && (
          <Text size="xs" c="dimmed">
            files deleted
          </Text>
        )}
      </>
    ),
  });
  return nodes;
}

const SHOWN = 3;

function Results({ checkpoint, evaluations }: { checkpoint: CheckpointDetail; evaluations: readonly Evaluation[] }) {
  if (evaluations.length === 0)
    return checkpoint.available ? (
      <Anchor component={Link} to={`/evaluations/new?checkpoint=${checkpoint.id}`} size="sm">
        Evaluate it
      </Anchor>
    ) : (
      <Text size="sm" c="dimmed">
        none
      </Text>
    );
  return (
    <>
      {evaluations.slice(0, SHOWN).map((evaluation) => (
        <div key={evaluation.id}>
          <Anchor component={Link} to={`/evaluations/${evaluation.id}`} size="sm" fw={500}>
            {headline(evaluation)}
          </Anchor>
        </div>
      ))}
      {evaluations.length > SHOWN && (
        <Anchor component={Link} to={`/evaluations?checkpoint=${checkpoint.id}`} size="xs">
          {plural(evaluations.length - SHOWN, "more evaluation")}
        </Anchor>
      )}
    </>
  );
}

function headline(evaluation: Evaluation): string {
  if (evaluation.job.state !== "done")
    return `${evaluation.kind === "closed_loop" ? "closed loop" : "open loop"}: ${evaluation.job.state}`;
  if (evaluation.success_rate !== null) return `${formatPercent(evaluation.success_rate)} success`;
  if (evaluation.error_of_range !== null) return `${formatPercent(evaluation.error_of_range, 1)} of range`;
  return "done";
}
