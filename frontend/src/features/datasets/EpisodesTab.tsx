import { Anchor, Button, Checkbox, Group, Menu, Text } from "@mantine/core";
import { useState } from "react";
import { IconDownload, IconMovie, IconSearch, IconTrash } from "@tabler/icons-react";
import { Link, useNavigate, useSearchParams } from "react-router";

import { useCan } from "@/api/queries";
import { confirm, notifyError } from "@/ui/confirm";
import { DataTable, type Column } from "@/ui/DataTable";
import { EmptyState } from "@/ui/EmptyState";
import { formatBytes, formatCount, formatSeconds, plural } from "@/ui/format";
import { Loaded } from "@/ui/Loaded";
import { useOrder, useWords } from "@/ui/search";
import { Time } from "@/ui/Time";
import { Tip } from "@/ui/Tip";

import classes from "@/features/episodes/core/episodes.module.css";
import {
  allEpisodes,
  useChosenEpisodes,
  useDeleteEpisode,
  useEpisodes,
  type EpisodeFilter,
  type EpisodeRow,
} from "@/features/episodes/core/hooks";
import { LabelBadge, Outcome } from "@/features/episodes/core/LabelBadge";
import { EditDialog } from "./editing/EditDialog";
import { askedIn } from "./editing/words";
import type { Dataset } from "./core/hooks";
import { EpisodeFilters } from "./EpisodeFilters";
import { episodeFilterOf } from "./episodeFilters";
import { RoleButton } from "@/ui/RoleButton";
import { Thumbnail } from "@/features/episodes/core/Thumbnail";

/** Of an edit, as the server has it. */
const MOST = 2000;

const SOURCES: Record<EpisodeRow["source"], string> = {
  recorded: "recorded",
  uploaded: "uploaded",
  imported: "imported",
  live: "recorded live",
};

/** The episodes of a dataset. `empty`: what to do when there are none. Some can be selected, and edited together; who
 * comes from an episode's own page (?edit=ID&do=keep&first=N&last=N) finds it selected. */
export function EpisodesTab({ dataset, empty }: { dataset: Dataset; empty: React.ReactNode }) {
  const datasetId = dataset.id;
  const [search, setSearch] = useSearchParams();
  const [order, sort, onOrder] = useOrder<NonNullable<EpisodeFilter["sort"]>>(COLUMNS);
  const filter = { ...episodeFilterOf(search, useWords()), ...sort };
  const query = useEpisodes(datasetId, filter);
  const navigate = useNavigate();
  const asked = search.get("edit");
  const [chosen, setChosen] = useState<ReadonlySet<string>>(() => new Set(asked === null ? [] : [asked]));
  const [editing, setEditing] = useState(asked !== null);
  const [edited, setEdited] = useState<string[]>(asked === null ? [] : [asked]); // those that the dialog is about
  const [given] = useState(() => (asked === null ? undefined : askedIn(search)));
  const remove = useDeleteEpisode();
  const may = useCan("operator");

  // those that are gone are selected no more
  const there = useChosenEpisodes(datasetId, [...chosen]);
  const gone = new Set(chosen);
  if (there.data && !there.isPlaceholderData) for (const { id } of there.data) gone.delete(id);
  else gone.clear();
  const selected = new Set([...chosen].filter((id) => !gone.has(id)));

  return (
    <>
      <EditDialog
        opened={editing}
        onClose={() => {
          setEditing(false);
          setSearch(
            (old) => {
              for (const name of ["edit", "do", "step", "first", "last"]) old.delete(name);
              return old;
            },
            { replace: true },
          );
        }}
        dataset={dataset}
        ids={edited}
        action={asked === null ? undefined : given?.action}
        given={asked === null ? undefined : given?.fields}
        onDone={() => setChosen(new Set())}
      />
      <EpisodeFilters>
        {selected.size > 0 ? (
          <Group gap="sm" data-testid="selection" data-count={selected.size}>
            <Text size="sm" aria-live="polite">
              {plural(selected.size, "episode")} selected
            </Text>
            <RoleButton
              needs="operator"
              size="xs"
              because={selected.size > MOST ? `An edit takes at most ${formatCount(MOST)} episodes.` : null}
              onClick={() => {
                setEdited([...selected]);
                setEditing(true);
              }}
              data-testid="selection-edit"
            >
              Edit
            </RoleButton>
            <Button
              size="xs"
              variant="subtle"
              color="gray"
              onClick={() => setChosen(new Set())}
              data-testid="selection-clear"
            >
              Clear
            </Button>
          </Group>
        ) : (
          query.data && (
            <Text size="sm" c="dimmed">
              {plural(query.data.total, "episode")}
            </Text>
          )
        )}
      </EpisodeFilters>
      <Loaded query={query} lines={6}>
        {({ rows, total, served }) =>
          total === 0 && dataset.episodes === 0 ? (
            <EmptyState icon={IconMovie} title="No episodes yet" action={empty}>
              Record demonstrations in the simulator, upload HDF5 files, or import a folder from the server.
            </EmptyState>
          ) : total === 0 ? (
            <EmptyState icon={IconSearch} title="No episode matches">
              Change the search or the filter.
            </EmptyState>
          ) : (
            <DataTable
              label="Episodes"
              rows={rows}
              list={{ ...served, total, order, onOrder }}
              columns={[selecting(rows, total, selected, setChosen, () => allEpisodes(datasetId, filter)), ...COLUMNS]}
              menu={{
                label: ({ number }) => `More for episode ${number}`,
                testId: "episode-menu",
                items: ({ id, number }) => (
                  <>
                    <Menu.Item
                      component="a"
                      href={`/api/episodes/${id}/file`}
                      download
                      leftSection={<IconDownload size={16} />}
                      data-testid="episode-download"
                    >
                      Download HDF5
                    </Menu.Item>
                    <Menu.Item
                      color="red"
                      disabled={!may}
                      leftSection={<IconTrash size={16} />}
                      data-testid="episode-delete"
                      onClick={() =>
                        confirm({
                          title: `Delete episode ${number}?`,
                          children:
                            "It can be brought back for some days, in the tab History; then its file is removed for good. An episode that a dataset version lists cannot be deleted.",
                          confirm: "Delete it",
                          action: () => remove.mutateAsync(id),
                        })
                      }
                    >
                      Delete{may ? "" : " (needs the role operator)"}
                    </Menu.Item>
                  </>
                ),
              }}
              rowKey={({ id }) => id}
              rowTestId="episode-row"
              onRowClick={({ id }) => void navigate(`/episodes/${id}`)}
              minWidth={1000}
            />
          )
        }
      </Loaded>
    </>
  );
}

/** A column of boxes; that of the header takes all of the list, also those that were not looked at yet. */
function selecting(
  rows: readonly EpisodeRow[],
  total: number,
  selected: ReadonlySet<string>,
  onChange: (to: ReadonlySet<string>) => void,
  everyone: () => Promise<EpisodeRow[]>,
): Column<EpisodeRow> {
  const full = selected.size >= total && rows.every(({ id }) => selected.has(id));
  return {
    key: "select",
    width: 36,
    control: true,
    header: (
      <Tip
        label={
          total > MOST ? `An edit takes at most ${formatCount(MOST)} episodes: narrow the list.` : "All of the list"
        }
      >
        <Checkbox
          size="xs"
          aria-label="Select all episodes of the list"
          checked={full}
          indeterminate={!full && selected.size > 0}
          disabled={total > MOST}
          onChange={() => {
            if (full) onChange(new Set());
            else
              everyone().then(
                (all) => onChange(new Set([...selected, ...all.map(({ id }) => id)])),
                (error: unknown) => notifyError(error, "They were not selected"),
              );
          }}
          data-testid="select-page"
        />
      </Tip>
    ),
    cell: ({ id, number }) => (
      <Checkbox
        size="xs"
        aria-label={`Select episode ${number}`}
        checked={selected.has(id)}
        onChange={(event) =>
          onChange(
            event.currentTarget.checked
              ? new Set([...selected, id])
              : new Set([...selected].filter((one) => one !== id)),
          )
        }
        data-testid="episode-select"
      />
    ),
  };
}

const COLUMNS: Column<EpisodeRow>[] = [
  {
    key: "number",
    header: "Episode",
    width: 190,
    sort: true,
    cell: ({ id, number }) => (
      <Group gap="sm" wrap="nowrap">
        <div className={classes.small}>
          <Thumbnail episodeId={id} width={80} />
        </div>
        <Anchor component={Link} to={`/episodes/${id}`} fw={600} data-testid="episode-link">
          {number}
        </Anchor>
      </Group>
    ),
  },
  {
    key: "length",
    width: 110,
    header: "Length",
    align: "right",
    sort: true,
    cell: ({ steps, seconds }) => (
      <>
        <Text size="sm">{formatCount(steps)} steps</Text>
        <Text size="xs" c="dimmed">
          {seconds === null ? "rate unknown" : formatSeconds(seconds)}
        </Text>
      </>
    ),
  },
  {
    key: "success",
    width: 100,
    header: "Outcome",
    sort: true,
    cell: ({ success }) => <Outcome success={success} />,
  },
  {
    key: "labels",
    width: 190,
    header: "Labels",
    sort: true,
    cell: ({ label_state, segments }) => (
      <Group gap={8} wrap="nowrap">
        <LabelBadge state={label_state} />
        <Text size="xs" c="dimmed" style={{ whiteSpace: "nowrap" }}>
          {segments > 0 && plural(segments, label_state === "unlabelled" ? "proposal" : "substep")}
        </Text>
      </Group>
    ),
  },
  {
    key: "instruction",
    header: "Instruction",
    sort: true,
    cell: ({ instruction }) => (
      <Text size="sm" lineClamp={2}>
        {instruction}
      </Text>
    ),
  },
  {
    key: "source",
    width: 120,
    header: "Source",
    sort: true,
    cell: ({ source, created_at, seed, robot }) => (
      <Tip label={[robot, seed === null ? null : `seed ${seed}`].filter(Boolean).join(", ") || "no details"}>
        <div>
          <Text size="sm">{SOURCES[source]}</Text>
          <Text size="xs" c="dimmed" component="div">
            <Time value={created_at} />
          </Text>
        </div>
      </Tip>
    ),
  },
  {
    key: "size",
    width: 90,
    header: "Size",
    align: "right",
    sort: true,
    cell: ({ size_bytes }) => (
      <Text size="sm" style={{ whiteSpace: "nowrap" }}>
        {formatBytes(size_bytes)}
      </Text>
    ),
  },
];
