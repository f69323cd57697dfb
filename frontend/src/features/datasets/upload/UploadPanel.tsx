import { ActionIcon, Anchor, Button, Group, Progress, Stack, Text, Tooltip } from "@mantine/core";
import { IconCheck, IconRefresh, IconX } from "@tabler/icons-react";
import { Link } from "react-router";

import { confirm } from "@/ui/confirm";
import { formatBytes, formatEstimate, plural } from "@/ui/format";

import { inThePage } from "@/ui/inThePage";
import { Problems } from "./Problems";
import { goingAlong, isOver, type Asked, type Item, type ItemState } from "./items";
import type { Summary, Uploads } from "./uploads";

const SHOWN = 40; // rows; of thousands of files those come first that somebody has to look at

const RANK: Record<ItemState, number> = {
  failed: 0,
  refused: 1,
  sending: 2,
  reading: 3,
  checking: 4,
  waiting: 5,
  accepted: 6,
  known: 6,
  staged: 6,
  cancelled: 7,
};

/** How far all of it is, and each file. Nothing while there is none. */
export function UploadPanel({ uploads, summary, asked }: { uploads: Uploads; summary: Summary; asked: Asked }) {
  const { items, paused, preparing, underWay } = summary;
  if (items.length === 0)
    return preparing ? (
      <Text size="sm" c="dimmed" role="status">
        Looking at what there is to send
      </Text>
    ) : null;
  const failed = items.filter(({ state }) => state === "failed").length;
  const open = preparing || items.some((item) => !isOver(item));
  const shown = items.length > SHOWN ? [...items].sort((a, b) => RANK[a.state] - RANK[b.state]).slice(0, SHOWN) : items;
  return (
    <Stack gap="sm" data-testid="upload-panel">
      <Stack gap={6}>
        <Group justify="space-between" gap="xs">
          <Text size="sm" fw={500} role="status" data-testid="upload-total">
            {totalText(summary)}
          </Text>
          <Group gap="xs">
            {underWay && (
              <Button
                size="xs"
                variant="default"
                onClick={() => (paused ? uploads.resume() : uploads.pause())}
                data-testid="upload-pause"
              >
                {paused ? "Go on" : "Pause"}
              </Button>
            )}
            {failed > 0 && (
              <Button size="xs" variant="default" onClick={() => uploads.retryFailed()} data-testid="upload-retry-all">
                Try {failed === 1 ? "it" : `all ${failed}`} again
              </Button>
            )}
            {open ? (
              <Button
                size="xs"
                variant="subtle"
                color="gray"
                onClick={() =>
                  confirm({
                    title: "Cancel all uploads?",
                    children: cancelText(items),
                    confirm: "Cancel them",
                    action: () => uploads.cancelAll(),
                  })
                }
                data-testid="upload-cancel-all"
              >
                Cancel all
              </Button>
            ) : (
              <Button
                size="xs"
                variant="subtle"
                color="gray"
                onClick={() => uploads.clear()}
                data-testid="upload-clear"
              >
                Clear the list
              </Button>
            )}
          </Group>
        </Group>
        {summary.totalBytes > 0 && (
          <Progress value={(100 * summary.sentBytes) / summary.totalBytes} size="md" aria-label="Upload of all files" />
        )}
        <Text size="xs" c="dimmed" data-testid="upload-pace">
          {paceText(summary)}
        </Text>
      </Stack>
      {shown.map((item) => (
        <UploadRow key={item.key} item={item} uploads={uploads} asked={asked} />
      ))}
      {items.length > shown.length && (
        <Text size="sm" c="dimmed">
          and {plural(items.length - shown.length, "more file")}
        </Text>
      )}
    </Stack>
  );
}

function totalText({ items }: Summary): string {
  const count = (...states: ItemState[]) => items.filter(({ state }) => states.includes(state)).length;
  const parts = [
    [count("accepted"), "accepted"],
    [count("known"), "there already"],
    [count("staged"), "kept for an import"],
    [count("refused"), "not accepted"],
    [count("failed"), "broke off"],
    [count("cancelled"), "cancelled"],
  ] as const;
  const said = parts.flatMap(([number, what]) => (number > 0 ? [`${number} ${what}`] : []));
  return [plural(items.length, "file"), ...said].join(", ");
}

function cancelText(items: readonly Item[]): string {
  const open = items.filter((item) => !isOver(item));
  const along = goingAlong(items);
  const gone = [
    open.length > 0 ? `What has come of ${plural(open.length, "file")} is removed from the studio.` : "",
    along.length > 0
      ? `${plural(along.length, "file")} of the same ${along.length === 1 ? "folder that is" : "folders that are"} kept for an import ${along.length === 1 ? "goes" : "go"} too.`
      : "",
  ];
  return [...gone, "Episodes that were taken in stay, and so do your files."].filter(Boolean).join(" ");
}

function paceText({ items, paused, underWay, sentBytes, totalBytes, bytesPerSecond }: Summary): string {
  const bytes = `${formatBytes(sentBytes)} of ${formatBytes(totalBytes)}`;
  if (!underWay)
    return items.some(({ state }) => state === "checking") ? `${bytes} sent; the studio looks into the files` : bytes;
  if (paused) return `${bytes}, paused`;
  if (items.some(({ state, retrying }) => state === "sending" && retrying))
    return `${bytes}, the line is broken: it goes on by itself as soon as the studio answers`;
  if (bytesPerSecond === null || bytesPerSecond <= 0) return bytes;
  return `${bytes}, ${formatBytes(bytesPerSecond)}/s, ${formatEstimate((totalBytes - sentBytes) / bytesPerSecond)} left`;
}

function UploadRow({ item, uploads, asked }: { item: Item; uploads: Uploads; asked: Asked }) {
  const { key, path, state, done, size, message, errors, warnings, episode } = item;
  const moving = state === "sending" || state === "reading" || state === "checking";
  return (
    <Stack gap={4} data-testid="upload-row" data-state={state}>
      <Group justify="space-between" wrap="nowrap" gap="sm">
        <Text size="sm" truncate fw={500} title={path}>
          {path}
        </Text>
        <Group gap="xs" wrap="nowrap">
          <Text size="xs" c="dimmed" style={{ whiteSpace: "nowrap" }}>
            {stateText(item)}
          </Text>
          {!isOver(item) && (
            <Act label={`Cancel ${path}`} tip="Cancel" onClick={() => uploads.cancel(key)}>
              <IconX size={14} />
            </Act>
          )}
          {(state === "failed" || state === "refused") && (
            <Act label={`Send ${path} again`} tip="Try again" onClick={() => uploads.retry(key, asked)}>
              <IconRefresh size={14} />
            </Act>
          )}
          {state === "accepted" && <IconCheck size={16} color="var(--mantine-color-teal-6)" aria-hidden />}
        </Group>
      </Group>
      {moving && (
        <Progress
          value={state === "checking" ? 100 : size > 0 ? (100 * done) / size : 0}
          size="sm"
          color={state === "reading" ? "gray" : undefined}
          animated={state === "checking"}
          aria-label={`Upload of ${path}`}
        />
      )}
      {state === "accepted" && episode && (
        <Text size="sm">
          <Anchor component={Link} to={`/episodes/${episode.id}`} size="sm" data-testid="upload-open">
            Episode {episode.number ?? ""}
          </Anchor>
          {warnings.map((warning) => (
            <Text key={warning} span size="sm" c="dimmed" display="block">
              {inThePage(warning)}
            </Text>
          ))}
        </Text>
      )}
      {state === "known" && (
        <Text size="sm" c="dimmed">
          {message}{" "}
          {episode && (
            <Anchor component={Link} to={`/episodes/${episode.id}`} size="sm" data-testid="upload-open">
              Open it
            </Anchor>
          )}
        </Text>
      )}
      {state === "checking" && message && (
        <Text size="sm" c="dimmed">
          {message}
        </Text>
      )}
      {(state === "refused" || state === "failed") && (
        <Problems
          message={inThePage(message ?? "")}
          errors={errors.filter((each) => !message?.includes(each)).map(inThePage)}
          data-testid="upload-errors"
        />
      )}
    </Stack>
  );
}

function Act({
  label,
  tip,
  onClick,
  children,
}: {
  label: string;
  tip: string;
  onClick: () => void;
  children: React.ReactNode;
}) {
  return (
    <Tooltip label={tip}>
      <ActionIcon size="sm" variant="subtle" color="gray" onClick={onClick} aria-label={label}>
        {children}
      </ActionIcon>
    </Tooltip>
  );
}

function stateText({ state, size, done, retrying }: Item): string {
  switch (state) {
    case "waiting":
      return `waiting, ${formatBytes(size)}`;
    case "reading":
      return `checksum, ${percent(done, size)} %`;
    case "sending":
      return retrying ? "line broken, trying again" : `${percent(done, size)} % of ${formatBytes(size)}`;
    case "checking":
      return "being checked";
    case "accepted":
      return "accepted";
    case "known":
      return "there already";
    case "staged":
      return "kept for an import";
    case "refused":
      return "not accepted";
    case "failed":
      return "broke off";
    case "cancelled":
      return "cancelled";
  }
}

function percent(done: number, size: number): number {
  return size > 0 ? Math.floor((100 * done) / size) : 100;
}
