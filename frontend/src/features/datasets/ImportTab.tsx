import { Group, Select, SimpleGrid, Stack, Text } from "@mantine/core";
import { useState } from "react";

import type { Schema } from "@/api/client";
import { useCan } from "@/api/queries";
import { useJobs } from "@/features/jobs/core/hooks";
import { ErrorNote } from "@/ui/ErrorNote";
import { formatBytes, plural } from "@/ui/format";
import { JobProgress } from "@/ui/JobProgress";
import { RoleButton } from "@/ui/RoleButton";
import { Section } from "@/ui/Section";
import { isOver } from "@/ui/StateBadge";

import { useImportCandidates, useImportFolder, type Dataset } from "./core/hooks";
import { refusedFiles } from "./refused";
import { Problems } from "./upload/Problems";
import { InstructionField, UploadSection } from "./upload/UploadSection";

export function ImportTab({ dataset }: { dataset: Dataset }) {
  return (
    <SimpleGrid cols={{ base: 1, lg: 2 }}>
      <UploadSection dataset={dataset} />
      <FolderSection dataset={dataset} />
    </SimpleGrid>
  );
}

function FolderSection({ dataset }: { dataset: Dataset }) {
  const may = useCan("operator");
  const candidates = useImportCandidates(may);
  const start = useImportFolder(dataset.id);
  const [chosen, setChosen] = useState<string | null>(null);
  const [instruction, setInstruction] = useState("");
  const jobs = useJobs({ subject_id: dataset.id, kind: "import", limit: 1 });
  const latest = jobs.data?.items[0];

  return (
    <Section
      title="Import a folder on the server"
      description="Folders with episode files below the import roots that the administrator configured (STUDIO_IMPORT_ROOTS)."
    >
      <Stack>
        {!may ? (
          <Text size="sm" c="dimmed">
            Importing needs the role operator.
          </Text>
        ) : candidates.data?.length === 0 ? (
          <Text size="sm" c="dimmed" data-testid="import-none">
            Nothing to import: no import root is configured, or no folder below one holds HDF5 files.
          </Text>
        ) : (
          <Group align="flex-end" wrap="nowrap">
            <Select
              label="Folder"
              placeholder={candidates.isPending ? "Looking for folders" : "Choose a folder"}
              searchable
              value={chosen}
              onChange={setChosen}
              data={(candidates.data ?? []).map(({ id, root, folder, files, size_bytes }) => ({
                value: id,
                label: `${folder === "." ? root : folder} (${plural(files, "file")}, ${formatBytes(size_bytes)})`,
              }))}
              style={{ flex: 1 }}
              data-testid="import-folder"
            />
            <RoleButton
              needs="operator"
              because={chosen === null ? "Choose a folder first." : null}
              loading={start.isPending}
              onClick={() => {
                if (chosen !== null) start.mutate({ folder: chosen, instruction });
              }}
              data-testid="import-start"
            >
              Import
            </RoleButton>
          </Group>
        )}
        {may && (candidates.data?.length ?? 0) > 0 && (
          <InstructionField value={instruction} onChange={setInstruction} testid="import-instruction" />
        )}
        <ErrorNote error={candidates.error ?? start.error} />
        {latest && <ImportResult job={latest} />}
      </Stack>
    </Section>
  );
}

/** The newest import: how far it is, and which files were not taken. */
function ImportResult({ job }: { job: Schema<"JobOut"> }) {
  const refused = refusedFiles(job.result);
  return (
    <Stack gap="xs" data-testid="import-job" data-state={job.state}>
      {/* while it runs the page shows it above the tabs */}
      {isOver(job.state) && <JobProgress job={job} titled />}
      {refused.map(({ name, errors }) => (
        <Problems key={name} message={<b>{name}</b>} errors={errors} data-testid="import-refused" />
      ))}
    </Stack>
  );
}
