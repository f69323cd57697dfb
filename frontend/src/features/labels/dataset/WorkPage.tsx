import { Button, Group, NumberInput, Stack, Text } from "@mantine/core";
import { IconChecklist, IconPlayerPlay } from "@tabler/icons-react";
import { useState } from "react";
import { useNavigate } from "react-router";

import { confirm } from "@/ui/confirm";
import { DataTable, type Column } from "@/ui/DataTable";
import { EmptyState } from "@/ui/EmptyState";
import { ErrorNote } from "@/ui/ErrorNote";
import { plural } from "@/ui/format";
import { Loaded } from "@/ui/Loaded";
import { RoleButton } from "@/ui/RoleButton";
import { Section } from "@/ui/Section";

import { useGiveBack, useMyWork, useTakeWork, type Work } from "@/features/labels/core/hooks";
import { useLabelledDataset } from "@/features/labels/core/dataset";
import { addressOf, keepTrail, type Trail } from "@/features/labels/core/trail";
import { WorkBadge } from "@/features/labels/core/WorkBadge";
import {
  episodeColumn,
  instructionColumn,
  lengthColumn,
  savedColumn,
  trailOf,
} from "@/features/labels/core/workColumns";

const MOST = 200;

/** What this person has to label here: take some, open the first, go on with the next after each submission. */
export function WorkPage() {
  const dataset = useLabelledDataset();
  const query = useMyWork(dataset.id);
  const take = useTakeWork(dataset.id);
  const giveBack = useGiveBack();
  const navigate = useNavigate();
  const [count, setCount] = useState(20);

  const open = (trail: Trail, at: number) => {
    keepTrail(trail);
    void navigate(addressOf(trail, at) ?? "");
  };
  return (
    <Loaded query={query}>
      {({ items, total }) => {
        const trail = trailOf(dataset.id, "work", "My work", items);
        return (
          <Section
            title={total === 0 ? "Nothing taken yet" : `${plural(total, "episode")} to label`}
            description="Episodes that nobody else has. Ctrl+Enter in the annotator submits one and opens the next."
            actions={
              <Group gap="xs" align="flex-end" wrap="nowrap">
                <NumberInput
                  w={76}
                  min={1}
                  max={MOST}
                  clampBehavior="strict"
                  value={count}
                  onChange={(value) => setCount(Number(value) || 1)}
                  aria-label="How many episodes to have at a time"
                  data-testid="work-count"
                />
                <RoleButton
                  needs="annotator"
                  variant={total === 0 ? "filled" : "default"}
                  loading={take.isPending}
                  because={total >= count ? `You have ${total} already: label those first, or ask for more.` : null}
                  onClick={() => take.mutate(count)}
                  data-testid="work-take"
                >
                  {total === 0 ? `Take the next ${count}` : `Fill up to ${count}`}
                </RoleButton>
                {total > 0 && (
                  <Button
                    leftSection={<IconPlayerPlay size={16} />}
                    onClick={() => open(trail, 0)}
                    data-testid="work-start"
                  >
                    Open the first
                  </Button>
                )}
              </Group>
            }
          >
            <Stack>
              <ErrorNote error={take.error ?? giveBack.error} />
              {total === 0 ? (
                <Nothing asked={take.isSuccess} episodes={dataset.episodes} />
              ) : (
                <DataTable
                  label="My work"
                  rows={items}
                  columns={columns(
                    trail,
                    items,
                    (at) => open(trail, at),
                    (work) => giveBack.mutateAsync(work),
                  )}
                  rowKey={keyOf}
                  rowTestId="work-row"
                  minWidth={820}
                />
              )}
              {items.some(untouched) && items.length > 1 && (
                <Group justify="flex-end">
                  <RoleButton
                    needs="annotator"
                    variant="subtle"
                    color="gray"
                    size="xs"
                    onClick={() =>
                      confirm({
                        title: "Give back what you have not begun?",
                        children: `${plural(items.filter(untouched).length, "episode")} can be taken by others again.`,
                        confirm: "Give them back",
                        danger: false,
                        action: () => giveBack.mutateAsync(items.filter(untouched)),
                      })
                    }
                    data-testid="work-release-all"
                  >
                    Give back all that are not begun
                  </RoleButton>
                </Group>
              )}
            </Stack>
          </Section>
        );
      }}
    </Loaded>
  );
}

function Nothing({ asked, episodes }: { asked: boolean; episodes: number }) {
  if (episodes === 0)
    return (
      <EmptyState icon={IconChecklist} title="No episodes yet">
        Record or upload episodes first; then they can be labelled.
      </EmptyState>
    );
  return asked ? (
    <EmptyState icon={IconChecklist} title="Nothing is left to take">
      Every episode is published, or somebody has it.
    </EmptyState>
  ) : (
    <EmptyState icon={IconChecklist} title="You have no episodes at the moment">
      Take some: they are yours until you submit them or give them back, and nobody else gets the same.
    </EmptyState>
  );
}

function keyOf({ episode_id, tier, rater }: Work): string {
  return `${episode_id}-${tier}-${rater}`;
}

function untouched({ state, rater }: Work): boolean {
  return state === "claimed" && rater === 0;
}

function columns(
  trail: Trail,
  items: readonly Work[],
  open: (at: number) => void,
  giveBack: (work: Work[]) => Promise<unknown>,
): Column<Work>[] {
  return [
    episodeColumn(trail, items, open),
    {
      key: "state",
      header: "State",
      sort: ({ state }) => state,
      cell: ({ state, open_notes }) => (
        <Group gap={8} wrap="nowrap">
          <WorkBadge state={state} />
          {open_notes > 0 && (
            <Text size="xs" c="dimmed" span>
              {plural(open_notes, "note")}
            </Text>
          )}
        </Group>
      ),
    },
    {
      key: "labels",
      header: "Labels",
      align: "right",
      sort: ({ segments }) => segments,
      cell: ({ segments, double }) => (
        <>
          <Text size="sm">{segments === 0 ? "none" : plural(segments, "substep")}</Text>
          {double && (
            <Text size="xs" c="dimmed">
              second labels, blind
            </Text>
          )}
        </>
      ),
    },
    lengthColumn,
    instructionColumn,
    savedColumn,
    {
      key: "release",
      header: "",
      align: "right",
      cell: (work) => (
        <RoleButton
          needs="annotator"
          variant="default"
          size="xs"
          because={
            work.double ? "Blind labels cannot be given back; an operator can give them to somebody else." : null
          }
          onClick={() => {
            if (work.segments === 0) void giveBack([work]);
            else
              confirm({
                title: `Give episode ${work.number} back?`,
                children: "What you saved stays, and somebody else goes on with it.",
                confirm: "Give it back",
                danger: false,
                action: () => giveBack([work]),
              });
          }}
          aria-label={`Give back episode ${work.number}`}
          data-testid="work-release"
        >
          Give back
        </RoleButton>
      ),
    },
  ];
}
