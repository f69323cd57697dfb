import { Anchor, Button, Text } from "@mantine/core";
import { IconVersions } from "@tabler/icons-react";
import { Link } from "react-router";

import { Copyable } from "@/ui/Copyable";
import { DataTable, type Column } from "@/ui/DataTable";
import { EmptyState } from "@/ui/EmptyState";
import { formatCount, formatPercent, shortHash } from "@/ui/format";
import { Loaded } from "@/ui/Loaded";
import { RoleButton } from "@/ui/RoleButton";
import { Time } from "@/ui/Time";

import { useVersions, type Dataset, type Version } from "./core/hooks";

export function VersionsTab({ dataset, onPublish }: { dataset: Dataset; onPublish: () => void }) {
  const query = useVersions(dataset.id);
  return (
    <Loaded query={query}>
      {(versions) =>
        versions.length === 0 ? (
          <EmptyState
            icon={IconVersions}
            title="No version yet"
            action={
              <RoleButton
                needs="operator"
                onClick={onPublish}
                because={dataset.episodes === 0 ? "There are no episodes yet." : null}
              >
                Publish version
              </RoleButton>
            }
          >
            A version freezes episodes and their published labels, so that a training can be repeated exactly. Runs
            train on versions.
          </EmptyState>
        ) : (
          <DataTable
            label="Versions"
            rows={versions}
            columns={COLUMNS}
            rowKey={({ id }) => id}
            rowTestId="version-row"
            minWidth={820}
          />
        )
      }
    </Loaded>
  );
}

const COLUMNS: Column<Version>[] = [
  {
    key: "number",
    header: "Version",
    sort: ({ number }) => number,
    cell: ({ number }) => <Text fw={600}>{number}</Text>,
  },
  { key: "episodes", header: "Episodes", align: "right", cell: ({ episodes }) => formatCount(episodes) },
  {
    key: "steps",
    header: "Steps",
    align: "right",
    cell: ({ steps, labelled_steps }) => (
      <>
        <Text size="sm">{formatCount(steps)}</Text>
        <Text size="xs" c="dimmed">
          {formatPercent(steps > 0 ? labelled_steps / steps : 0)} labelled
        </Text>
      </>
    ),
  },
  {
    key: "note",
    header: "Note",
    cell: ({ note }) => (
      <Text size="sm" lineClamp={2} c={note ? undefined : "dimmed"}>
        {note || "none"}
      </Text>
    ),
  },
  {
    key: "sha",
    header: "Manifest (SHA-256)",
    cell: ({ id, manifest_sha256 }) => (
      <>
        <Copyable value={manifest_sha256} short={shortHash(manifest_sha256)} label="Copy the hash" />
        <Anchor href={`/api/versions/${id}/manifest`} download size="xs" ml="xs" data-testid="version-manifest">
          Download
        </Anchor>
      </>
    ),
  },
  { key: "runs", header: "Runs", align: "right", cell: ({ runs }) => formatCount(runs) },
  {
    key: "created",
    header: "Published",
    sort: ({ created_at }) => created_at,
    cell: ({ created_at, created_by_name }) => (
      <>
        <Text size="sm" component="div">
          <Time value={created_at} />
        </Text>
        <Text size="xs" c="dimmed">
          {created_by_name && `by ${created_by_name}`}
        </Text>
      </>
    ),
  },
  {
    key: "train",
    header: "",
    align: "right",
    cell: ({ id }) => (
      <Button component={Link} to={`/training/new?version=${id}`} size="xs" variant="light" data-testid="version-train">
        Train on it
      </Button>
    ),
  },
];
