import { Alert, Button, Group, Stack, Text } from "@mantine/core";
import { useState, type ReactNode } from "react";

import { confirm } from "@/ui/confirm";
import { Wizard } from "@/features/datasets/importing/Wizard";
import { ErrorNote } from "@/ui/ErrorNote";
import { formatBytes, plural } from "@/ui/format";
import { Time } from "@/ui/Time";

import { useForgetUpload, useTakeEpisodes, useUpload, useUploads } from "./hooks";
import type { ServerUpload } from "./transfer";
import { isOver, type Item, type Uploads } from "./uploads";

const NAMED = 3;

/** What the studio has of uploads that nobody goes on with here: of a closed page, of another machine, of a folder. */
export function Unfinished({
  datasetId,
  uploads,
  items,
}: {
  datasetId: string;
  uploads: Uploads;
  items: readonly Item[];
}) {
  const { data, error } = useUploads(datasetId);
  const here = new Set(items.filter((item) => !isOver(item)).map(({ server }) => server?.uploadId));
  const left = (data ?? []).filter(({ id, counts, kind }) => {
    if (here.has(id)) return false;
    return (counts.uploading ?? 0) > 0 || (counts.received ?? 0) > 0 || kind === "folder";
  });
  return (
    <>
      <ErrorNote error={error} />
      {left.map((upload) => (
        <Left key={upload.id} upload={upload} uploads={uploads} />
      ))}
    </>
  );
}

function Left({ upload, uploads }: { upload: ServerUpload; uploads: Uploads }) {
  const { counts, mine, files } = upload;
  const missing = counts.uploading ?? 0;
  const checked = counts.received ?? 0;
  if (missing > 0)
    return (
      <Note
        upload={upload}
        uploads={uploads}
        state="unfinished"
        title={mine ? `${plural(missing, "file")} unfinished` : `${upload.created_by_name} is uploading`}
      >
        {mine
          ? `${formatBytes(upload.received_bytes)} of ${formatBytes(upload.size_bytes)} have arrived. Drop or choose the same files or the same folder again to go on.`
          : `${formatBytes(upload.received_bytes)} of ${formatBytes(upload.size_bytes)} have arrived.`}
        <Missing uploadId={upload.id} />
      </Note>
    );
  if (checked > 0)
    return (
      <Note upload={upload} uploads={uploads} state="checking" title={`${plural(checked, "file")} being checked`}>
        All bytes are there.
      </Note>
    );
  return <Folder upload={upload} uploads={uploads} files={files} />;
}

/** The first names of what is missing, so that one knows what to drop again. */
function Missing({ uploadId }: { uploadId: string }) {
  const { data } = useUpload(uploadId);
  const missing = data?.items.filter(({ state }) => state === "uploading") ?? [];
  if (missing.length === 0) return null;
  return (
    <Text span size="xs" c="dimmed" display="block" mt={4} style={{ overflowWrap: "anywhere" }}>
      {missing
        .slice(0, NAMED)
        .map(({ path }) => path)
        .join(", ")}
      {missing.length > NAMED && ` and ${missing.length - NAMED} more`}
    </Text>
  );
}

function Folder({ upload, uploads, files }: { upload: ServerUpload; uploads: Uploads; files: number }) {
  const take = useTakeEpisodes();
  const [asked, setAsked] = useState(false);
  const { episode_files, id, mine } = upload;
  const others = files - episode_files;
  return (
    <Note
      upload={upload}
      uploads={uploads}
      state="folder"
      title={`A folder of ${plural(files, "file")} is here`}
      error={take.error}
      action={
        mine && (
          <>
            <Button
              size="xs"
              variant={asked ? "default" : "filled"}
              onClick={() => setAsked(!asked)}
              aria-expanded={asked}
              data-testid="upload-import"
            >
              {asked ? "Not now" : "Import this folder"}
            </Button>
            {episode_files > 0 && (
              <Button
                size="xs"
                variant="default"
                loading={take.isPending}
                onClick={() =>
                  confirm({
                    title: `Take in ${plural(episode_files, "HDF5 file")}?`,
                    children: `Each becomes an episode if it passes the check. The other ${plural(others, "file")} of the folder are removed from the studio; yours stay where they are.`,
                    confirm: "Take them in",
                    action: async () => uploads.follow(await take.mutateAsync(id)),
                  })
                }
                data-testid="upload-take-episodes"
              >
                Take in its {plural(episode_files, "HDF5 file")}
              </Button>
            )}
          </>
        )
      }
      below={asked && <Wizard datasetId={upload.dataset_id} source={{ upload: id }} />}
    >
      It holds more than HDF5 files, so it is kept as it was sent ({formatBytes(upload.size_bytes)}).{" "}
      {mine ? "Import it: you see first what was found in it. " : "Whoever sent it can import it. "}
      {mine && episode_files > 0 && "Or take in its HDF5 files alone, each as an episode."}
    </Note>
  );
}

function Note({
  upload,
  uploads,
  state,
  title,
  action,
  error = null,
  below,
  children,
}: {
  upload: ServerUpload;
  uploads: Uploads;
  state: string;
  title: string;
  action?: ReactNode;
  error?: unknown;
  below?: ReactNode;
  children: ReactNode;
}) {
  const forget = useForgetUpload();
  return (
    <Alert variant="light" color="gray" title={title} data-testid="upload-left" data-state={state}>
      <Stack gap="xs">
        <Text size="sm">{children}</Text>
        <Text size="xs" c="dimmed" component="div">
          {upload.created_by_name} began <Time value={upload.created_at} />. It is forgotten{" "}
          <Time value={upload.expires_at} /> unless more of it comes.
        </Text>
        <ErrorNote error={error ?? forget.error} />
        {upload.mine && (
          <Group gap="xs" justify="flex-end">
            {action}
            <Button
              size="xs"
              variant="subtle"
              color="gray"
              loading={forget.isPending}
              onClick={() =>
                confirm({
                  title: "Remove this upload?",
                  children: `${formatBytes(upload.received_bytes)} that have arrived are removed from the studio. Episodes that were taken in stay, and so do your files.`,
                  confirm: "Remove it",
                  action: async () => {
                    await forget.mutateAsync(upload.id);
                    uploads.forget(upload.id);
                  },
                })
              }
              data-testid="upload-forget"
            >
              Remove
            </Button>
          </Group>
        )}
        {below}
      </Stack>
    </Alert>
  );
}
