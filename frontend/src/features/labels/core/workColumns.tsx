import { Anchor, Text } from "@mantine/core";
import { Link } from "react-router";

import type { Column } from "@/ui/DataTable";
import { formatSeconds, plural } from "@/ui/format";
import { Time } from "@/ui/Time";

import type { Work } from "./hooks";
import { addressOf, type Trail } from "./trail";

/** Columns of lists of work, and the way along such a list. */

export function trailOf(dataset: string, kind: "work" | "review", title: string, work: readonly Work[]): Trail {
  return {
    kind,
    dataset,
    from: `/datasets/${dataset}/labels/${kind}`,
    title,
    stops: work.map(({ episode_id, number, tier, rater }) => ({
      episode: episode_id,
      number,
      step: null,
      tier,
      rater,
    })),
  };
}

/** The episode's number; a click opens it as a stop of the trail, with a modifier beside this page. */
export function episodeColumn(trail: Trail, items: readonly Work[], open: (at: number) => void): Column<Work> {
  return {
    key: "number",
    header: "Episode",
    width: 110,
    sort: ({ number }) => number,
    cell: (work) => (
      <Anchor
        component={Link}
        to={addressOf(trail, items.indexOf(work)) ?? ""}
        fw={600}
        onClick={(event) => {
          if (event.ctrlKey || event.metaKey || event.shiftKey) return;
          event.preventDefault();
          open(items.indexOf(work));
        }}
        data-testid={`${trail.kind}-open`}
      >
        {work.number}
      </Anchor>
    ),
  };
}

export const lengthColumn: Column<Work> = {
  key: "length",
  header: "Length",
  align: "right",
  sort: ({ steps }) => steps,
  cell: ({ steps, seconds }) => (
    <>
      <Text size="sm">{plural(steps, "step")}</Text>
      <Text size="xs" c="dimmed">
        {seconds === null ? "rate unknown" : formatSeconds(seconds)}
      </Text>
    </>
  ),
};

export const instructionColumn: Column<Work> = {
  key: "instruction",
  header: "Instruction",
  cell: ({ instruction }) => (
    <Text size="sm" lineClamp={2}>
      {instruction}
    </Text>
  ),
};

export const savedColumn: Column<Work> = {
  key: "updated",
  header: "Saved",
  sort: ({ updated_at }) => updated_at,
  cell: ({ updated_at }) => (
    <Text size="sm" component="div">
      <Time value={updated_at} />
    </Text>
  ),
};
