import { ActionIcon, Anchor, Button, Checkbox, Group, Menu, Pagination, Stack, Text, Tooltip } from "@mantine/core";
import { useEffect, useState } from "react";
import { IconDots, IconDownload, IconMovie, IconTrash } from "@tabler/icons-react";
import { Link, useNavigate, useSearchParams } from "react-router";

import { useCan } from "@/api/queries";
import { confirm } from "@/ui/confirm";
import { DataTable, type Column } from "@/ui/DataTable";
import { EmptyState } from "@/ui/EmptyState";
import { formatBytes, formatCount, formatSeconds, plural } from "@/ui/format";
import { Loaded } from "@/ui/Loaded";
import { Time } from "@/ui/Time";

import classes from "@/features/episodes/core/episodes.module.css";
import { useDeleteEpisode, useEpisodes, type EpisodeRow } from "@/features/episodes/core/hooks";
import { LabelBadge, Outcome } from "@/features/episodes/core/LabelBadge";
import { EditDialog } from "./editing/EditDialog";
import type { Dataset } from "./core/hooks";
import { stillThere } from "./selection";
import { RoleButton } from "@/ui/RoleButton";
import { Thumbnail } from "@/features/episodes/core/Thumbnail";

const PER_PAGE = 50;

const SOURCES: Record<EpisodeRow["source"], string> = {
  recorded: "recorded",
  uploaded: "uploaded",
  imported: "imported",
  live: "recorded live",
};

/** The episodes of a dataset. `empty`: what to do when there are none. Some can be selected, and edited together; who
 * comes from an episode's own page (?edit=ID&step=N) finds it selected. */
export function EpisodesTab({ dataset, empty }: { dataset: Dataset; empty: React.ReactNode }) {
  const datasetId = dataset.id;
  const [search, setSearch] = useSearchParams();
  const page = Math.max(1, Number(search.get("page")) || 1);
  const query = useEpisodes(datasetId, (page - 1) * PER_PAGE, PER_PAGE);
  const navigate = useNavigate();
  const asked = search.get("edit");
  const [selected, setSelected] = useState<ReadonlySet<string>>(() => new Set(asked === null ? [] : [asked]));
  const [editing, setEditing] = useState(asked !== null);
  const [edited, setEdited] = useState<string[]>(asked === null ? [] : [asked]); // those that the dialog is about
  const [known, setKnown] = useState<ReadonlyMap<string, number>>(new Map()); // the numbers of those that were seen
  const step = Number(search.get("step")) || undefined;

  const turn = (to: number, replace = false) =>
    setSearch(
      (old) => {
        old.set("page", String(to));
        return old;
      },
      { replace },
    );
  const shown = query.isPlaceholderData ? undefined : query.data;
  const pages = shown && Math.max(1, Math.ceil(shown.total / PER_PAGE));
  // an edit or somebody else took the episodes of this page away
  const last = pages !== undefined && page > pages ? pages : null;
  useEffect(() => {
    if (last !== null) turn(last, true);
    // once for each page that is gone; `turn` is another each time
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [last]);

  // those that are gone are selected no more
  const [looked, setLooked] = useState<typeof shown>();
  if (shown && shown !== looked) {
    setLooked(shown);
    const numbers = new Map([...known, ...shown.items.map(({ id, number }) => [id, number] as const)]);
    setKnown(numbers);
    setSelected((old) => stillThere(old, numbers, shown.items, { first: page === 1, last: page === pages }));
  }
  const deselect = (id: string) => setSelected((old) => new Set([...old].filter((each) => each !== id)));

  return (
    <>
      <EditDialog
        opened={editing}
        onClose={() => {
          setEditing(false);
          setSearch(
            (old) => {
              old.delete("edit");
              old.delete("step");
              return old;
            },
            { replace: true },
          );
        }}
        dataset={dataset}
        ids={edited}
        action={asked === null ? undefined : "split"}
        step={step}
        onDone={() => setSelected(new Set())}
      />
      <Loaded query={query} lines={6}>
        {({ items, total }) =>
          total === 0 ? (
            <EmptyState icon={IconMovie} title="No episodes yet" action={empty}>
              Record demonstrations in the simulator, upload HDF5 files, or import a folder from the server.
            </EmptyState>
          ) : (
            <Stack>
              {selected.size > 0 && (
                <Group gap="sm" data-testid="selection" data-count={selected.size}>
                  <Text size="sm" aria-live="polite">
                    {plural(selected.size, "episode")} selected
                  </Text>
                  <RoleButton
                    needs="operator"
                    size="xs"
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
                    onClick={() => setSelected(new Set())}
                    data-testid="selection-clear"
                  >
                    Clear
                  </Button>
                </Group>
              )}
              <DataTable
                label="Episodes"
                rows={items}
                columns={[selecting(items, selected, setSelected), ...COLUMNS, menu(deselect)]}
                rowKey={({ id }) => id}
                rowTestId="episode-row"
                onRowClick={({ id }) => void navigate(`/episodes/${id}`)}
                minWidth={860}
              />
              {total > PER_PAGE && (
                <Group justify="space-between">
                  <Text size="sm" c="dimmed">
                    {plural(total, "episode")}
                  </Text>
                  <Pagination total={Math.ceil(total / PER_PAGE)} value={page} onChange={turn} size="sm" />
                </Group>
              )}
            </Stack>
          )
        }
      </Loaded>
    </>
  );
}

/** A column of boxes; that of the header takes all of the page. */
function selecting(
  items: readonly EpisodeRow[],
  selected: ReadonlySet<string>,
  onChange: (to: ReadonlySet<string>) => void,
): Column<EpisodeRow> {
  const all = items.length > 0 && items.every(({ id }) => selected.has(id));
  const put = (ids: readonly string[], on: boolean) => {
    const now = new Set(selected);
    for (const id of ids)
      if (on) now.add(id);
      else now.delete(id);
    onChange(now);
  };
  return {
    key: "select",
    width: 36,
    control: true,
    header: (
      <Checkbox
        size="xs"
        aria-label="Select all episodes of this page"
        checked={all}
        indeterminate={!all && items.some(({ id }) => selected.has(id))}
        onChange={(event) =>
          put(
            items.map(({ id }) => id),
            event.currentTarget.checked,
          )
        }
        data-testid="select-page"
      />
    ),
    cell: ({ id, number }) => (
      <Checkbox
        size="xs"
        aria-label={`Select episode ${number}`}
        checked={selected.has(id)}
        onChange={(event) => put([id], event.currentTarget.checked)}
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
    sort: ({ number }) => number,
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
    header: "Length",
    align: "right",
    sort: ({ steps }) => steps,
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
    header: "Outcome",
    sort: ({ success }) => (success === null ? null : Number(success)),
    cell: ({ success }) => <Outcome success={success} />,
  },
  {
    key: "labels",
    header: "Labels",
    sort: ({ label_state }) => label_state,
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
    sort: ({ instruction }) => instruction,
    cell: ({ instruction }) => (
      <Text size="sm" lineClamp={2}>
        {instruction}
      </Text>
    ),
  },
  {
    key: "source",
    header: "Source",
    sort: ({ source }) => source,
    cell: ({ source, created_at, seed, robot }) => (
      <Tooltip label={[robot, seed === null ? null : `seed ${seed}`].filter(Boolean).join(", ") || "no details"}>
        <div>
          <Text size="sm">{SOURCES[source]}</Text>
          <Text size="xs" c="dimmed" component="div">
            <Time value={created_at} />
          </Text>
        </div>
      </Tooltip>
    ),
  },
  {
    key: "size",
    header: "Size",
    align: "right",
    sort: ({ size_bytes }) => size_bytes,
    cell: ({ size_bytes }) => (
      <Text size="sm" style={{ whiteSpace: "nowrap" }}>
        {formatBytes(size_bytes)}
      </Text>
    ),
  },
];

function menu(onDeleted: (id: string) => void): Column<EpisodeRow> {
  return {
    key: "menu",
    header: "",
    width: 48,
    control: true,
    cell: (episode) => <EpisodeMenu episode={episode} onDeleted={() => onDeleted(episode.id)} />,
  };
}

function EpisodeMenu({ episode, onDeleted }: { episode: EpisodeRow; onDeleted: () => void }) {
  const remove = useDeleteEpisode();
  const may = useCan("operator");
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <ActionIcon
          variant="subtle"
          color="gray"
          aria-label={`More for episode ${episode.number}`}
          data-testid="episode-menu"
        >
          <IconDots size={18} />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item
          component="a"
          href={`/api/episodes/${episode.id}/file`}
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
              title: `Delete episode ${episode.number}?`,
              children:
                "It can be brought back for some days, in the tab History; then its file is removed for good. An episode that a dataset version lists cannot be deleted.",
              confirm: "Delete it",
              action: () => remove.mutateAsync(episode.id).then(onDeleted),
            })
          }
        >
          Delete{may ? "" : " (needs the role operator)"}
        </Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
