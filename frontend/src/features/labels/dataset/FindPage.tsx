import { Anchor, Badge, Button, Group, Pagination, Stack, Text, Tooltip } from "@mantine/core";
import { IconPlayerPlay, IconSearch } from "@tabler/icons-react";
import { useState } from "react";
import { Link, useLocation, useNavigate, useSearchParams } from "react-router";

import { notifyError } from "@/ui/confirm";
import { DataTable, type Column } from "@/ui/DataTable";
import { EmptyState } from "@/ui/EmptyState";
import { formatCount, formatSeconds, plural } from "@/ui/format";
import { Loaded } from "@/ui/Loaded";
import { Section } from "@/ui/Section";

import { searchTitle, segmentQueryOf } from "./filters";
import { FindFilters } from "./FindFilters";
import { findSegments, useSegments, type Found, type SegmentQuery } from "@/features/labels/core/hooks";
import { useLabelledDataset } from "@/features/labels/core/dataset";
import { TierSwitch, useTier } from "./tier";
import { addressOf, keepTrail, type Trail } from "@/features/labels/core/trail";
import { FINDINGS } from "@/features/labels/core/words";
import { WorkBadge } from "@/features/labels/core/WorkBadge";

const PER_PAGE = 50;
/** The API gives so many at a time. */
const PER_ANSWER = 500;
/** Hits that one can go through in the annotator; they are kept in the tab. */
const MOST_HITS = 5000;

/** Substeps by text, length, person or warning, and the way through them in the annotator. */
export function FindPage() {
  const dataset = useLabelledDataset();
  const [search, setSearch] = useSearchParams();
  const tier = useTier();
  const segmentQuery = segmentQueryOf(search, tier, dataset.fps);
  const page = Math.max(1, Number(search.get("page")) || 1);
  const query = useSegments(dataset.id, segmentQuery, (page - 1) * PER_PAGE, PER_PAGE);
  const goThrough = useGoThrough(dataset.id, segmentQuery);

  return (
    <Stack>
      <TierSwitch datasetId={dataset.id} />
      <FindFilters datasetId={dataset.id} tier={tier} />
      <Loaded query={query} lines={8}>
        {({ items, total }) => (
          <Section
            title={plural(total, "hit")}
            description="Of everybody's labels as they are now. Shift+N and Shift+P in the annotator go to the next and the previous one."
            actions={
              <Button
                leftSection={<IconPlayerPlay size={16} />}
                disabled={total === 0}
                loading={goThrough.pending}
                onClick={() => void goThrough.begin((page - 1) * PER_PAGE)}
                data-testid="find-go"
              >
                Go through them
              </Button>
            }
          >
            {total === 0 ? (
              <EmptyState icon={IconSearch} title="No hits">
                Loosen or clear a filter.
              </EmptyState>
            ) : (
              <div data-testid="find-hits" data-count={total}>
                <DataTable
                  label="Hits"
                  rows={items}
                  columns={columns((found) => void goThrough.begin((page - 1) * PER_PAGE + items.indexOf(found)))}
                  rowKey={({ episode_id, rater, index }) => `${episode_id}-${rater}-${index}`}
                  rowTestId="find-row"
                  minWidth={860}
                />
                {total > PER_PAGE && (
                  <Group justify="space-between" mt="sm">
                    <Text size="sm" c="dimmed">
                      {formatCount((page - 1) * PER_PAGE + 1)} to {formatCount((page - 1) * PER_PAGE + items.length)}
                    </Text>
                    <Pagination
                      size="sm"
                      total={Math.ceil(total / PER_PAGE)}
                      value={page}
                      onChange={(to) =>
                        setSearch((old) => {
                          old.set("page", String(to));
                          return old;
                        })
                      }
                      getControlProps={(control) => ({ "aria-label": `${control} page` })}
                    />
                  </Group>
                )}
              </div>
            )}
          </Section>
        )}
      </Loaded>
    </Stack>
  );
}

/** Fetch all hits and open one of them in the annotator. */
function useGoThrough(datasetId: string, segmentQuery: SegmentQuery) {
  const navigate = useNavigate();
  const { pathname, search } = useLocation();
  const [pending, setPending] = useState(false);
  const begin = async (at: number) => {
    setPending(true);
    try {
      const trail: Trail = {
        kind: "hits",
        dataset: datasetId,
        from: pathname + search,
        title: searchTitle(new URLSearchParams(search)),
        stops: (await allHits(datasetId, segmentQuery)).map(({ episode_id, number, start, tier, rater }) => ({
          episode: episode_id,
          number,
          step: start,
          tier,
          rater,
        })),
      };
      keepTrail(trail);
      // what changed meanwhile may have made it fewer
      const address = addressOf(trail, Math.min(at, trail.stops.length - 1));
      if (address !== null) void navigate(address);
    } catch (error) {
      notifyError(error, "The hits could not be fetched");
    } finally {
      setPending(false);
    }
  };
  return { begin, pending };
}

async function allHits(datasetId: string, segmentQuery: SegmentQuery): Promise<Found[]> {
  const hits: Found[] = [];
  for (;;) {
    const { items, total } = await findSegments(datasetId, segmentQuery, hits.length, PER_ANSWER);
    hits.push(...items);
    if (items.length === 0 || hits.length >= Math.min(total, MOST_HITS)) return hits.slice(0, MOST_HITS);
  }
}

function columns(open: (found: Found) => void): Column<Found>[] {
  return [
    {
      key: "number",
      header: "Episode",
      width: 90,
      cell: (found) => (
        <Anchor
          component={Link}
          to={`/episodes/${found.episode_id}?step=${found.start}`}
          fw={600}
          onClick={(event) => {
            if (event.ctrlKey || event.metaKey || event.shiftKey) return;
            event.preventDefault();
            open(found);
          }}
          data-testid="find-open"
        >
          {found.number}
        </Anchor>
      ),
    },
    {
      key: "text",
      header: "Text",
      cell: ({ text, rater }) => (
        <>
          <Text
            size="sm"
            lineClamp={2}
            style={{ overflowWrap: "anywhere" }}
            c={text ? undefined : "dimmed"}
            fs={text ? undefined : "italic"}
          >
            {text || "no text yet"}
          </Text>
          {rater > 0 && (
            <Text size="xs" c="dimmed">
              second labels
            </Text>
          )}
        </>
      ),
    },
    {
      key: "steps",
      header: "Steps",
      align: "right",
      cell: ({ start, end, seconds }) => (
        <>
          <Text size="sm" style={{ whiteSpace: "nowrap" }}>
            {formatCount(start)} to {formatCount(end - 1)}
          </Text>
          <Text size="xs" c="dimmed">
            {seconds === null ? plural(end - start, "step") : formatSeconds(seconds)}
          </Text>
        </>
      ),
    },
    {
      key: "who",
      header: "By",
      cell: ({ annotator_name }) => <Text size="sm">{annotator_name ?? "nobody yet"}</Text>,
    },
    { key: "state", header: "State", cell: ({ state }) => <WorkBadge state={state} /> },
    {
      key: "warnings",
      header: "Warnings",
      cell: ({ warnings }) => (
        <Group gap={4}>
          {warnings.map((code) => (
            <Tooltip key={code} label={FINDINGS[code].help}>
              <Badge color="yellow">{FINDINGS[code].label}</Badge>
            </Tooltip>
          ))}
        </Group>
      ),
    },
  ];
}
