import { Anchor, Button, Checkbox, Group, Pagination, Select, Stack, Switch, Text } from "@mantine/core";
import { IconChecklist } from "@tabler/icons-react";
import { useState } from "react";
import { Link } from "react-router";

import { useCan } from "@/api/queries";
import { DataTable, type Column } from "@/ui/DataTable";
import { EmptyState } from "@/ui/EmptyState";
import { ErrorNote } from "@/ui/ErrorNote";
import { plural } from "@/ui/format";
import { Loaded } from "@/ui/Loaded";
import { Section } from "@/ui/Section";

import { useAnnotators, useAssign, useEverybodysWork, type Work, type WorkState } from "@/features/labels/core/hooks";
import { useLabelledDataset } from "@/features/labels/core/dataset";
import { Skipped } from "./Skipped";
import { WORK_STATES, WorkBadge } from "@/features/labels/core/WorkBadge";
import { instructionColumn, lengthColumn, savedColumn } from "@/features/labels/core/workColumns";

/** Rows by their key, also those of other pages of the list. */
type Chosen = ReadonlyMap<string, Work>;

const PAGE = 100;
const STATES = Object.entries(WORK_STATES).map(([value, { label }]) => ({ value, label }));

/** Who has which episode; operators give them to people and take them back. */
export function AssignPage() {
  const operator = useCan("operator");
  return operator ? (
    <Assign />
  ) : (
    <EmptyState icon={IconChecklist} title="Operators assign episodes">
      This needs the role operator. What you have yourself is under My work.
    </EmptyState>
  );
}

function Assign() {
  const dataset = useLabelledDataset();
  const [state, setState] = useState<WorkState | null>(null);
  const [who, setWho] = useState<string | null>(null);
  const [page, setPage] = useState(1);
  const [chosen, setChosen] = useState<Chosen>(new Map());
  const [person, setPerson] = useState<string | null>(null);
  const [blind, setBlind] = useState(false);
  const annotators = useAnnotators(true);
  const query = useEverybodysWork(dataset.id, { state, who, offset: (page - 1) * PAGE, limit: PAGE });
  const assign = useAssign(dataset.id);

  const people = (annotators.data ?? []).map(({ id, name }) => ({ value: id, label: name }));
  const change = (turn: () => void) => {
    turn();
    setPage(1);
    setChosen(new Map());
  };
  const give = (to: string | null) =>
    assign.mutate(
      { work: [...chosen.values()], to, second: blind && to !== null },
      { onSuccess: () => setChosen(new Map()) },
    );
  return (
    <Section
      title="Who has what"
      description="Give episodes to people, or take them back. What was saved stays; what somebody is working on or has submitted stays theirs."
      actions={
        <Group gap="xs" wrap="nowrap">
          <Select
            size="xs"
            w={150}
            clearable
            placeholder="Any state"
            data={STATES}
            value={state}
            onChange={(value) => change(() => setState(value as WorkState | null))}
            aria-label="State"
            data-testid="assign-state"
          />
          <Select
            size="xs"
            w={150}
            clearable
            placeholder="Anybody's"
            data={people}
            value={who}
            onChange={(value) => change(() => setWho(value))}
            aria-label="Who has it"
            data-testid="assign-who"
          />
        </Group>
      }
    >
      <Stack gap="sm">
        <Group gap="sm" align="center">
          <Text size="sm" fw={600} data-testid="assign-count" data-count={chosen.size}>
            {chosen.size === 0 ? "Choose episodes, then" : `${plural(chosen.size, "row")} chosen:`}
          </Text>
          <Select
            size="xs"
            w={180}
            searchable
            placeholder="a person"
            data={people}
            value={person}
            onChange={setPerson}
            aria-label="Give to"
            data-testid="assign-person"
          />
          <Button
            size="xs"
            disabled={chosen.size === 0 || person === null}
            loading={assign.isPending}
            onClick={() => give(person)}
            data-testid="assign-give"
          >
            Give
          </Button>
          <Button
            size="xs"
            variant="default"
            disabled={chosen.size === 0 || assign.isPending}
            onClick={() => give(null)}
            data-testid="assign-take-back"
          >
            Take back
          </Button>
          <Switch
            size="xs"
            label="for second, blind labels"
            checked={blind}
            onChange={(event) => setBlind(event.currentTarget.checked)}
            data-testid="assign-blind"
          />
        </Group>
        <ErrorNote error={annotators.error ?? assign.error} />
        <Skipped skipped={assign.data ?? []} />
        <Loaded query={query}>
          {({ items, total }) =>
            total === 0 ? (
              <EmptyState icon={IconChecklist} title={state || who ? "No episode matches" : "No episodes yet"}>
                {state || who
                  ? "Choose another state or person."
                  : "Record or upload episodes first; then they can be labelled."}
              </EmptyState>
            ) : (
              <>
                <DataTable
                  label="Who has what"
                  rows={items}
                  columns={columns(items, chosen, setChosen)}
                  rowKey={keyOf}
                  rowTestId="assign-row"
                  minWidth={820}
                />
                {total > PAGE && (
                  <Group justify="space-between">
                    <Text size="sm" c="dimmed">
                      {plural(total, "entry", "entries")}
                    </Text>
                    <Pagination
                      size="sm"
                      total={Math.ceil(total / PAGE)}
                      value={page}
                      onChange={setPage}
                      getControlProps={(control) => ({ "aria-label": `${control} page` })}
                    />
                  </Group>
                )}
              </>
            )
          }
        </Loaded>
      </Stack>
    </Section>
  );
}

function keyOf({ episode_id, rater }: Work): string {
  return `${episode_id}-${rater}`;
}

function columns(items: readonly Work[], chosen: Chosen, setChosen: (chosen: Chosen) => void): Column<Work>[] {
  const here = items.filter((work) => chosen.has(keyOf(work))).length;
  const choose = (changed: readonly Work[], wanted: boolean) => {
    const next = new Map(chosen);
    for (const work of changed)
      if (wanted) next.set(keyOf(work), work);
      else next.delete(keyOf(work));
    setChosen(next);
  };
  return [
    {
      key: "choose",
      header: (
        <Checkbox
          size="xs"
          checked={here === items.length}
          indeterminate={here > 0 && here < items.length}
          onChange={(event) => choose(items, event.currentTarget.checked)}
          aria-label="All on this page"
          data-testid="assign-all"
        />
      ),
      width: 40,
      cell: (work) => (
        <Checkbox
          size="xs"
          checked={chosen.has(keyOf(work))}
          onChange={(event) => choose([work], event.currentTarget.checked)}
          aria-label={`Episode ${work.number}${work.double ? ", second labels" : ""}`}
          data-testid="assign-check"
        />
      ),
    },
    {
      key: "number",
      header: "Episode",
      width: 100,
      sort: ({ number }) => number,
      cell: ({ episode_id, number, rater }) => (
        <Anchor component={Link} to={`/episodes/${episode_id}${rater > 0 ? `?rater=${rater}` : ""}`} fw={600}>
          {number}
        </Anchor>
      ),
    },
    {
      key: "state",
      header: "State",
      sort: ({ state }) => state,
      cell: ({ state, double, label_state }) => (
        <>
          <WorkBadge state={state} />
          {(double || label_state === "published") && (
            <Text size="xs" c="dimmed">
              {double ? "second labels, blind" : "published"}
            </Text>
          )}
        </>
      ),
    },
    {
      key: "who",
      header: "Who has it",
      sort: ({ assignee_name, submitted_by_name }) => assignee_name ?? submitted_by_name ?? "",
      cell: ({ assignee_name, submitted_by_name, holder_name }) => (
        <>
          <Text size="sm" c={assignee_name || submitted_by_name ? undefined : "dimmed"}>
            {assignee_name ?? submitted_by_name ?? "nobody"}
          </Text>
          {holder_name && (
            <Text size="xs" c="dimmed">
              {holder_name} works on it now
            </Text>
          )}
        </>
      ),
    },
    {
      key: "labels",
      header: "Labels",
      align: "right",
      sort: ({ segments }) => segments,
      cell: ({ segments }) => <Text size="sm">{segments === 0 ? "none" : plural(segments, "substep")}</Text>,
    },
    lengthColumn,
    instructionColumn,
    savedColumn,
  ];
}
