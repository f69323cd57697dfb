import { Button, Group, Select, Text } from "@mantine/core";
import { IconChecks, IconPlayerPlay } from "@tabler/icons-react";
import { useState } from "react";
import { useNavigate } from "react-router";

import type { Work } from "@/features/labels/core/hooks";
import { useLabelledDataset } from "@/features/labels/core/dataset";
import { addressOf, keepTrail, type Trail } from "@/features/labels/core/trail";
import { episodeColumn, instructionColumn, trailOf } from "@/features/labels/core/workColumns";
import { DataTable, type Column } from "@/ui/DataTable";
import { EmptyState } from "@/ui/EmptyState";
import { plural } from "@/ui/format";
import { Loaded } from "@/ui/Loaded";
import { Section } from "@/ui/Section";
import { Time } from "@/ui/Time";

import { useReviewQueue } from "./hooks";

/** Labels that others submitted and that wait for a look; the longest waiting first. */
export function ReviewPage() {
  const dataset = useLabelledDataset();
  const query = useReviewQueue(dataset.id);
  const navigate = useNavigate();
  const [by, setBy] = useState<string | null>(null);
  const open = (trail: Trail, at: number) => {
    keepTrail(trail);
    void navigate(addressOf(trail, at) ?? "");
  };
  return (
    <Loaded query={query}>
      {({ items, total }) => {
        const shown = items.filter((work) => by === null || byOf(work) === by);
        const trail = trailOf(dataset.id, "review", "To review", shown);
        return (
          <Section
            title={total === 0 ? "Nothing to review" : `${plural(total, "episode")} to review`}
            description="What others submitted. Comment on substeps, then approve, or send it back with a reason."
            actions={
              total > 0 && (
                <Group gap="xs" wrap="nowrap">
                  <Select
                    size="sm"
                    w={170}
                    clearable
                    placeholder="By anybody"
                    data={[...new Set(items.map(byOf))].sort()}
                    value={by}
                    onChange={setBy}
                    aria-label="Submitted by"
                    data-testid="review-by"
                  />
                  <Button
                    leftSection={<IconPlayerPlay size={16} />}
                    disabled={shown.length === 0}
                    onClick={() => open(trail, 0)}
                    data-testid="review-start"
                  >
                    Open the first
                  </Button>
                </Group>
              )
            }
          >
            {total === 0 ? (
              <EmptyState icon={IconChecks} title="Nothing to review">
                Labels that others submit appear here. Nobody reviews their own.
              </EmptyState>
            ) : (
              <DataTable
                label="To review"
                rows={shown}
                columns={columns(trail, shown, (at) => open(trail, at))}
                rowKey={({ episode_id, tier }) => `${episode_id}-${tier}`}
                rowTestId="review-row"
                minWidth={760}
              />
            )}
          </Section>
        );
      }}
    </Loaded>
  );
}

function byOf({ submitted_by_name }: Work): string {
  return submitted_by_name ?? "Somebody";
}

function columns(trail: Trail, items: readonly Work[], open: (at: number) => void): Column<Work>[] {
  return [
    episodeColumn(trail, items, open),
    {
      key: "by",
      header: "Submitted by",
      sort: byOf,
      cell: (work) => (
        <>
          <Text size="sm">{byOf(work)}</Text>
          <Text size="xs" c="dimmed" component="div">
            <Time value={work.submitted_at} />
          </Text>
        </>
      ),
    },
    {
      key: "labels",
      header: "Labels",
      align: "right",
      sort: ({ segments }) => segments,
      cell: ({ segments, steps, tier }) => (
        <>
          <Text size="sm">{plural(segments, tier === "plan" ? "part of the plan" : "substep")}</Text>
          <Text size="xs" c="dimmed">
            {plural(steps, "step")}
          </Text>
        </>
      ),
    },
    {
      key: "notes",
      header: "Open comments",
      align: "right",
      sort: ({ open_notes }) => open_notes,
      cell: ({ open_notes }) => <Text size="sm">{open_notes === 0 ? "none" : open_notes}</Text>,
    },
    instructionColumn,
  ];
}
