import { ActionIcon, Button, Group, Stack, Text, Title, Tooltip } from "@mantine/core";
import { IconDownload, IconTrash } from "@tabler/icons-react";
import { useEffect, useRef } from "react";

import { useCan } from "@/api/queries";
import { JobActions } from "@/features/jobs/core/JobActions";
import { confirm } from "@/ui/confirm";
import { Copyable } from "@/ui/Copyable";
import { ErrorNote } from "@/ui/ErrorNote";
import { formatBytes, plural, shortHash } from "@/ui/format";
import { JobProgress } from "@/ui/JobProgress";
import { Time } from "@/ui/Time";

import classes from "./datasets.module.css";
import { archiveUrl, choiceText, destinationText, underWay, useDeleteExport, useExports, type Export } from "./exports";

/** What was exported of a dataset and is still there, newest first. begun: one that was just asked for is brought into
 * view. */
export function ExportList({ datasetId, begun = null }: { datasetId: string; begun?: string | null }) {
  const query = useExports(datasetId);
  const exports = query.data ?? [];
  const size = exports.reduce((sum, one) => sum + one.size_bytes, 0);
  if (query.error) return <ErrorNote error={query.error} />;
  if (exports.length === 0) return null;
  return (
    <Stack gap="xs" data-testid="export-list">
      <Group justify="space-between" gap="xs">
        <Title order={3} size="h5">
          Exports
        </Title>
        <Text size="xs" c="dimmed">
          {plural(exports.length, "export")}, {formatBytes(size)}
        </Text>
      </Group>
      {exports.map((one) => (
        <Row key={one.id} made={one} show={one.id === begun} />
      ))}
    </Stack>
  );
}

function Row({ made, show }: { made: Export; show: boolean }) {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (show) place.current?.scrollIntoView({ block: "nearest" });
  }, [show]);
  const may = useCan("operator");
  const remove = useDeleteExport(made.dataset_id);
  const { job } = made;
  const elsewhere = made.destination.kind !== "archive";
  const state = made.finished_at !== null ? "made" : (job?.state ?? "gone");
  return (
    <div ref={place} className={classes.export} data-testid="export-row" data-id={made.id} data-state={state}>
      <Group justify="space-between" wrap="nowrap" align="flex-start" gap="sm">
        <div style={{ minWidth: 0 }}>
          <Text size="sm" fw={500} className={classes.name}>
            {made.title}, {plural(made.episodes, "episode")}
          </Text>
          <Text size="xs" c="dimmed" component="div">
            {choiceText(made)}; <Time value={made.created_at} />
            {made.created_by_name && ` by ${made.created_by_name}`}
            {made.expires_at !== null && (
              <>
                , {elsewhere ? "leaves this list" : "is removed"} <Time value={made.expires_at} />
              </>
            )}
          </Text>
        </div>
        <Group gap="xs" wrap="nowrap">
          {made.finished_at !== null && !elsewhere && (
            <Button
              component="a"
              href={archiveUrl(made)}
              download
              size="xs"
              variant="light"
              leftSection={<IconDownload size={14} />}
              data-testid="export-download"
            >
              {formatBytes(made.size_bytes)}
            </Button>
          )}
          {!underWay(made) && (
            <Tooltip label={may ? "Delete this export" : "Deleting needs the role operator"}>
              <ActionIcon
                variant="subtle"
                color="gray"
                size={30}
                disabled={!may}
                aria-label={`Delete ${made.name}`}
                data-testid="export-delete"
                onClick={() =>
                  confirm({
                    title: "Delete this export?",
                    children: elsewhere
                      ? "It leaves this list. What was written there stays, as do the episodes and their labels."
                      : "Its files are removed. The episodes and their labels stay.",
                    confirm: "Delete it",
                    action: () => remove.mutateAsync(made.id),
                  })
                }
              >
                <IconTrash size={16} />
              </ActionIcon>
            </Tooltip>
          )}
        </Group>
      </Group>
      {made.finished_at === null && job !== null && <JobProgress job={job} actions={<JobActions job={job} />} />}
      {elsewhere && made.destination.landed && (
        <Text size="xs" c="dimmed" style={{ overflowWrap: "anywhere" }} data-testid="export-landed">
          {destinationText(made.destination)}, in {made.destination.landed}: {plural(made.files, "file")},{" "}
          {formatBytes(made.size_bytes)}
        </Text>
      )}
      {made.sha256 !== null && (
        <Group gap="xs">
          <Text size="xs" c="dimmed">
            {plural(made.files, "file")} in one .tar, SHA-256
          </Text>
          <Copyable value={made.sha256} short={shortHash(made.sha256)} label="Copy the hash" />
        </Group>
      )}
      {made.warnings.length > 0 && (
        <details className={classes.warnings} data-testid="export-warnings">
          <summary>{plural(made.warnings.length, "remark")}</summary>
          <ul>
            {made.warnings.map((warning, at) => (
              <li key={at}>{warning}</li>
            ))}
          </ul>
        </details>
      )}
    </div>
  );
}
