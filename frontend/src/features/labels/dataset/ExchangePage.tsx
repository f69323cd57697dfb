import { Anchor, Button, Checkbox, Group, SegmentedControl, Stack, Text } from "@mantine/core";
import { IconDownload } from "@tabler/icons-react";
import { useState } from "react";
import { Link } from "react-router";

import { Section } from "@/ui/Section";

import { ChangesSection } from "./ChangesSection";
import { FORMATS } from "./formats";
import type { LabelFormat } from "@/features/labels/core/hooks";
import { ImportSection } from "./ImportSection";
import { useLabelledDataset } from "@/features/labels/core/dataset";
import { TierSwitch, useTier } from "./tier";

/** Labels without motion and images: out as a file, and in from one. */
export function ExchangePage() {
  const dataset = useLabelledDataset();
  const tier = useTier();
  const [format, setFormat] = useState<LabelFormat>("json");
  const [drafts, setDrafts] = useState(false);
  const query = new URLSearchParams({ format, tier, drafts: String(drafts) });
  return (
    <Stack>
      <TierSwitch datasetId={dataset.id} />
      <Section
        title="Download the labels"
        description="Of all episodes, without motion and images. The same file can be imported again, here or in another studio that has the episodes."
      >
        <Stack gap="sm">
          <Group gap="lg">
            <SegmentedControl
              value={format}
              onChange={setFormat}
              data={FORMATS.map(({ format: value, label }) => ({ value, label }))}
              aria-label="Format"
              data-testid="export-format"
            />
            <Checkbox
              label="The current drafts instead of what is published"
              checked={drafts}
              onChange={(event) => setDrafts(event.currentTarget.checked)}
              data-testid="export-drafts"
            />
          </Group>
          <Text size="sm" c="dimmed">
            {FORMATS.find((one) => one.format === format)?.help}
          </Text>
          <Group>
            <Button
              component="a"
              href={`/api/datasets/${dataset.id}/labels?${query.toString()}`}
              download
              leftSection={<IconDownload size={16} />}
              data-testid="export-download"
            >
              Download
            </Button>
            <Text size="sm" c="dimmed">
              Labels per step, with the motion, are in the files of the episodes: see{" "}
              <Anchor component={Link} to={`/datasets/${dataset.id}`} size="sm" underline="always">
                the dataset
              </Anchor>
              .
            </Text>
          </Group>
        </Stack>
      </Section>
      <ImportSection key={tier} datasetId={dataset.id} tier={tier} />
      <ChangesSection datasetId={dataset.id} />
    </Stack>
  );
}
