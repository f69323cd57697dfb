import { Alert, Button, Checkbox, FileButton, Group, NumberInput, Select, Stack, Text } from "@mantine/core";
import { IconUpload } from "@tabler/icons-react";
import { useState } from "react";

import { ErrorNote } from "@/ui/ErrorNote";
import { formatBytes, plural } from "@/ui/format";
import { RoleButton } from "@/ui/RoleButton";
import { Section } from "@/ui/Section";

import { FORMATS, formatOf } from "./formats";
import { useImportLabels, type LabelFormat, type Tier } from "@/features/labels/core/hooks";
import { Skipped } from "./Skipped";

/** The API's limit, characters. */
const MOST = 20_000_000;

interface Chosen {
  name: string;
  content: string;
}

/** Labels from a file as drafts: first what fits, then the import, which can be undone. */
export function ImportSection({ datasetId, tier }: { datasetId: string; tier: Tier }) {
  const [chosen, setChosen] = useState<Chosen | null>(null);
  const [format, setFormat] = useState<LabelFormat>("json");
  const [episode, setEpisode] = useState<number | null>(null);
  const [overwrite, setOverwrite] = useState(false);
  const [unreadable, setUnreadable] = useState<Error | null>(null);
  const look = useImportLabels(datasetId);
  const take = useImportLabels(datasetId);
  const changed = () => {
    look.reset();
    take.reset();
  };
  const read = async (file: File | null) => {
    if (!file) return;
    changed();
    setChosen(null);
    setUnreadable(null);
    if (file.size > MOST) {
      setUnreadable(new Error(`${file.name} has ${formatBytes(file.size)}; at most ${formatBytes(MOST)} can be read.`));
      return;
    }
    try {
      const content = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
      setChosen({ name: file.name, content });
      setFormat(formatOf(file.name) ?? format);
    } catch {
      setUnreadable(new Error(`${file.name} is not text in UTF-8; save it as that and choose it again.`));
    }
  };
  const body = (preview: boolean) => ({
    tier,
    format,
    content: chosen?.content ?? "",
    episode,
    overwrite,
    preview,
  });

  return (
    <Section
      title="Import labels from a file"
      description="They become drafts of the episodes with these numbers. JSON and CSV also name the motion, which must be the same. People publish them."
    >
      <Stack gap="sm">
        <Group align="flex-end" gap="sm">
          <FileButton onChange={(file) => void read(file)} accept=".json,.csv,.txt,.tsv,text/*,application/json">
            {(props) => (
              <Button
                {...props}
                variant="default"
                leftSection={<IconUpload size={16} />}
                data-testid="labels-import-choose"
              >
                {chosen ? chosen.name : "Choose a file"}
              </Button>
            )}
          </FileButton>
          <Select
            label="Format"
            data={FORMATS.map(({ format: value, label }) => ({ value, label }))}
            value={format}
            allowDeselect={false}
            onChange={(value) => {
              if (value !== null) setFormat(value);
              changed();
            }}
            w={150}
            data-testid="labels-import-format"
          />
          <NumberInput
            label="Episode, where rows name none"
            placeholder="as in the file"
            min={0}
            allowDecimal={false}
            value={episode ?? ""}
            onChange={(value) => {
              setEpisode(typeof value === "number" ? value : null);
              changed();
            }}
            w={220}
            data-testid="labels-import-episode"
          />
          <Checkbox
            label="Also replace labels that are there"
            checked={overwrite}
            onChange={(event) => {
              setOverwrite(event.currentTarget.checked);
              changed();
            }}
            pb={8}
            data-testid="labels-import-overwrite"
          />
          <RoleButton
            needs="operator"
            variant="default"
            disabled={chosen === null || chosen.content === ""}
            loading={look.isPending}
            onClick={() => look.mutate(body(true))}
            data-testid="labels-import-preview"
          >
            Preview
          </RoleButton>
        </Group>
        <ErrorNote error={unreadable ?? look.error ?? take.error} />
        {look.data && take.data === undefined && (
          <Stack gap="xs" data-testid="labels-import-fit" data-changed={look.data.changed}>
            <Text size="sm">
              {look.data.changed === 0
                ? "Nothing would be imported."
                : `${plural(look.data.changed, "episode")} would get labels from the file.`}
            </Text>
            <Skipped skipped={look.data.skipped} />
            {look.data.changed > 0 && (
              <Group>
                <RoleButton
                  needs="operator"
                  loading={take.isPending}
                  onClick={() => take.mutate(body(false))}
                  data-testid="labels-import-apply"
                >
                  Import into {plural(look.data.changed, "episode")}
                </RoleButton>
              </Group>
            )}
          </Stack>
        )}
        {take.data && (
          <Alert
            color="teal"
            title={`Imported into ${plural(take.data.changed, "episode")}`}
            data-testid="labels-import-done"
          >
            They are drafts now. The import is listed below and can be undone there.
            <Skipped skipped={take.data.skipped} />
          </Alert>
        )}
      </Stack>
    </Section>
  );
}
