import { Group, Select, Stack, Text } from "@mantine/core";
import { useState } from "react";

import { useCan } from "@/api/queries";
import { useImportCandidates, type Dataset } from "@/features/datasets/core/hooks";
import { useJobs } from "@/features/jobs/core/hooks";
import { ErrorNote } from "@/ui/ErrorNote";
import { formatBytes, plural } from "@/ui/format";
import { Section } from "@/ui/Section";

import { ImportReport } from "./ImportReport";
import { Wizard } from "./Wizard";

/** A folder of the server: chosen, looked at, asked about, imported, reported; all on one page. */
export function FolderImport({ dataset }: { dataset: Dataset }) {
  const may = useCan("operator");
  const candidates = useImportCandidates(may);
  const [chosen, setChosen] = useState<string | null>(null);
  const jobs = useJobs({ subject_id: dataset.id, kind: "import", limit: 1 });
  const latest = jobs.data?.items[0];
  return (
    <Section
      title="Import a folder on the server"
      description="ACT and ALOHA HDF5, LeRobot, robomimic, LIBERO, RoboTwin, DROID, MCAP, ROS bags, and tables with videos or images, below the folders that the administrator configured (STUDIO_IMPORT_ROOTS). The originals stay as they are."
    >
      <Stack>
        {!may ? (
          <Text size="sm" c="dimmed">
            Importing needs the role operator.
          </Text>
        ) : candidates.data?.length === 0 ? (
          <Text size="sm" c="dimmed" data-testid="import-none">
            Nothing to import: no import root is configured, or no folder below one holds episodes.
          </Text>
        ) : (
          <Select
            label="Folder"
            placeholder={candidates.isPending ? "Looking for folders" : "Choose a folder"}
            searchable
            value={chosen}
            onChange={setChosen}
            data={(candidates.data ?? []).map(({ id, root, folder, files, size_bytes, kinds }) => ({
              value: id,
              label: `${folder === "." ? root : folder} (${kinds.join(", ")}: ${plural(files, "file")}, ${formatBytes(size_bytes)})`,
            }))}
            maw={720}
            data-testid="import-folder"
          />
        )}
        <ErrorNote error={candidates.error} />
        {may && chosen !== null && <Wizard key={chosen} datasetId={dataset.id} source={{ candidate: chosen }} />}
        {latest && (
          <Group align="stretch">
            <ImportReport job={latest} />
          </Group>
        )}
      </Stack>
    </Section>
  );
}
