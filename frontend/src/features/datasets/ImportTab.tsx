import { Stack } from "@mantine/core";

import type { Dataset } from "./core/hooks";
import { FolderImport } from "./importing/FolderImport";
import { UploadSection } from "./upload/UploadSection";

export function ImportTab({ dataset }: { dataset: Dataset }) {
  return (
    <Stack>
      <UploadSection dataset={dataset} />
      <FolderImport dataset={dataset} />
    </Stack>
  );
}
