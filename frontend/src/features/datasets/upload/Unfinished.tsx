import { Alert, Button, Group, Stack, Text } from "@mantine/core";
import { useState, type ReactNode } from "react";

import { useMe } from "@/api/queries";
import { useUnderWay } from "@/features/datasets/importing/hooks";
import { Wizard } from "@/features/datasets/importing/Wizard";
import { confirm } from "@/ui/confirm";
import { ErrorNote } from "@/ui/ErrorNote";
import { formatBytes, plural } from "@/ui/format";
import { RoleButton } from "@/ui/RoleButton";
import { Time } from "@/ui/Time";

import { useForgetUpload, useLeaveOutFiles, useTakeEpisodes, useUpload, useUploads } from "./hooks";
import { isOver, type Item } from "./items";
import { inThePage } from "@/ui/inThePage";
import { Problems } from "./Problems";
import type { ServerUpload } from "./transfer";
import type { Uploads } from "./uploads";

const NAMED = 3;
const REFUSALS = 40; // that are drawn; the files of a whole folder may be refused

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
  const here = new Set(items.filter((item) => !isOver(item)).map(({ server }) => server.uploadId));
  // what was refused while one looked is said in the list of files
  const said = new Set(items.filter(({ state }) => state === "refused").map(({ server }) => server.uploadId));
  const left = (data ?? []).filter(({ id, counts, kind, mine }) => {
    if (here.has(id)) return false;
    if ((counts.uploading ?? 0) > 0 || (counts.received ?? 0) > 0 || kind === "folder") return true;
    return mine && (counts.refused ?? 0) > 0 && !said.has(id) && !uploads.seen.has(id, counts.refused ?? 0);
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
  const me = useMe();
  // an administrator may go on with everybody's
  const sender = mine && (me?.role !== "admin" || me.name === upload.created_by_name);
  const missing = counts.uploading ?? 0;
  const checked = counts.received ?? 0;
  if (missing > 0)
    return (
      <Note
        upload={upload}
        uploads={uploads}
        state="unfinished"
        title={
          sender ? `${plural(missing, "file")} unfinished` : `${upload.created_by_name ?? "Somebody"} is uploading`
        }
      >
        {formatBytes(upload.received_bytes)} of {formatBytes(upload.size_bytes)} have arrived.{" "}
        {sender && "Drop or choose the same files or the same folder again to go on."}
        {mine && !sender && "As an administrator you can go on with it from the same files, or remove it."}
        <Missing uploadId={upload.id} />
      </Note>
    );
  if (checked > 0)
    return (
      <Note upload={upload} uploads={uploads} state="checking" title={`${plural(checked, "file")} being checked`}>
        All bytes are there.
      </Note>
    );
  if ((counts.refused ?? 0) > 0) return <Refused upload={upload} uploads={uploads} count={counts.refused ?? 0} />;
  return <Folder upload={upload} uploads={uploads} files={files} />;
}

/** What was not accepted while nobody looked, with the reasons; a folder can go on without it. */
function Refused({ upload, uploads, count }: { upload: ServerUpload; uploads: Uploads; count: number }) {
  const { data, error } = useUpload(upload.id);
  const leaveOut = useLeaveOutFiles();
  const refused = data?.items.filter(({ state }) => state === "refused") ?? [];
  const folder = upload.kind === "folder" && count < upload.files;
  return (
    <Note
      upload={upload}
      uploads={uploads}
      state="refused"
      title={`${plural(count, "file")} not accepted`}
      error={error ?? leaveOut.error}
      action={
        folder &&
        data && (
          <Button
            size="xs"
            loading={leaveOut.isPending}
            onClick={() => leaveOut.mutate(refused.map(({ id }) => id))}
            data-testid="upload-leave-out"
          >
            Go on without {count === 1 ? "it" : "them"}
          </Button>
        )
      }
      below={
        <>
          {refused.slice(0, REFUSALS).map(({ id, path, message, errors }) => (
            <Problems
              key={id}
              message={inThePage(message?.includes(nameOf(path)) ? message : `${path}: ${message ?? "not accepted"}`)}
              errors={errors.filter((each) => !message?.includes(each)).map(inThePage)}
              data-testid="upload-errors"
            />
          ))}
          {refused.length > REFUSALS && (
            <Text size="sm" c="dimmed">
              and {plural(refused.length - REFUSALS, "more file")}
            </Text>
          )}
        </>
      }
    >
      {folder
        ? `The other ${plural(upload.files - count, "file")} of this folder are here. It can be imported without ${count === 1 ? "this one" : "these"}.`
        : "Nothing of what was not accepted is kept here. Send it again when it is mended, or look at it first (the box above) to say what it lacks."}
    </Note>
  );
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
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
  const running = useUnderWay(upload.dataset_id);
  const [asked, setAsked] = useState(false);
  const { episode_files, id, mine } = upload;
  const others = files - episode_files;
  return (
    <Note
      upload={upload}
      uploads={uploads}
      state="folder"
      title={others > 0 ? `A folder of ${plural(files, "file")} is here` : `${plural(files, "HDF5 file")} to look at`}
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
              {asked ? "Not now" : others > 0 ? "Import this folder" : "Look at them and import"}
            </Button>
            {episode_files > 0 && (
              <RoleButton
                needs="operator"
                size="xs"
                variant="default"
                loading={take.isPending}
                because={running}
                onClick={() =>
                  confirm({
                    title: `Take in ${plural(episode_files, "HDF5 file")}?`,
                    children: `Each becomes an episode if it passes the check.${others > 0 ? ` The other ${plural(others, "file")} of the folder ${others === 1 ? "is" : "are"} removed from the studio; yours stay where they are.` : ""}`,
                    confirm: "Take them in",
                    action: async () => uploads.follow(await take.mutateAsync(id)),
                  })
                }
                data-testid="upload-take-episodes"
              >
                Take in {others > 0 && "its "}
                {plural(episode_files, "HDF5 file")}
              </RoleButton>
            )}
          </>
        )
      }
      below={asked && <Wizard datasetId={upload.dataset_id} source={{ upload: id }} />}
    >
      {others > 0 ? "It holds more than HDF5 files, so it is" : "They are"} kept as{" "}
      {others > 0 ? "it was" : "they were"} sent ({formatBytes(upload.size_bytes)}).{" "}
      {mine
        ? `Import ${others > 0 ? "it" : "them"}: you see first what was found${others > 0 ? " in it" : ""}. `
        : "Whoever sent it can import it. "}
      {mine &&
        episode_files > 0 &&
        (others > 0 ? "Or take in its HDF5 files alone, each as an episode." : "Or take them in as they are.")}
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
  const running = useUnderWay(upload.dataset_id);
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
            <RoleButton
              needs="operator"
              size="xs"
              variant="subtle"
              color="gray"
              loading={forget.isPending}
              because={upload.kind === "folder" ? running : null}
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
            </RoleButton>
          </Group>
        )}
        {below}
      </Stack>
    </Alert>
  );
}
