import { Stack } from "@mantine/core";

import { ChangesSection } from "./ChangesSection";
import { useLabelledDataset } from "@/features/labels/core/dataset";
import { RenameSection } from "./RenameSection";
import { TemplateSection } from "./TemplateSection";
import { TierSwitch, useTier } from "./tier";

/** Changes of many episodes at once, each with a look at what it does and a way back. */
export function BatchPage() {
  const { id } = useLabelledDataset();
  const tier = useTier();
  return (
    <Stack>
      <TierSwitch datasetId={id} />
      <RenameSection key={`rename-${tier}`} datasetId={id} tier={tier} />
      <TemplateSection key={`template-${tier}`} datasetId={id} tier={tier} />
      <ChangesSection datasetId={id} />
    </Stack>
  );
}
