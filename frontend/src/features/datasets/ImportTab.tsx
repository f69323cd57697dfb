import {
  ActionIcon,
  Alert,
  Anchor,
  Button,
  Group,
  List,
  Progress,
  Stack,
  Text,
  TextInput,
  Tooltip,
} from "@mantine/core";
import { IconCheck, IconRefresh, IconUpload, IconX } from "@tabler/icons-react";
import { useEffect, useRef, useState, useSyncExternalStore, type ReactNode } from "react";
import { Link } from "react-router";

import { queryClient, useCan } from "@/api/queries";
import { formatBytes } from "@/ui/format";
import { RoleButton } from "@/ui/RoleButton";
import { Section } from "@/ui/Section";

import classes from "./datasets.module.css";
import type { Dataset } from "./core/hooks";
import { FolderImport } from "./importing/FolderImport";
import { sendTo, Uploads, type UploadItem } from "./upload";

export function ImportTab({ dataset }: { dataset: Dataset }) {
  return (
    <Stack>
      <UploadSection dataset={dataset} />
      <FolderImport dataset={dataset} />
    </Stack>
  );
}

/** Uploads go on while other tabs of the page are looked at, and are seen again when one comes back. */
const running = new Map<string, Uploads>();
/** What was typed as the instruction of files without one, by dataset. */
const instructions = new Map<string, string>();

function uploadsOf(datasetId: string): Uploads {
  const found = running.get(datasetId);
  if (found) return found;
  const made = new Uploads(
    sendTo(datasetId, () => instructions.get(datasetId) ?? ""),
    () => {
      for (const topic of ["episode", "dataset"]) void queryClient.invalidateQueries({ queryKey: [topic] });
    },
  );
  running.set(datasetId, made);
  return made;
}

function UploadSection({ dataset }: { dataset: Dataset }) {
  const may = useCan("operator");
  const uploads = uploadsOf(dataset.id);
  const items = useSyncExternalStore(uploads.subscribe, uploads.snapshot);
  const [over, setOver] = useState(false);
  const [instruction, setInstruction] = useState(instructions.get(dataset.id) ?? "");
  const input = useRef<HTMLInputElement>(null);
  const active = items.some(({ upload }) => ["waiting", "sending", "checking"].includes(upload.state));

  useEffect(() => {
    if (!active) return;
    const ask = (event: BeforeUnloadEvent) => event.preventDefault();
    window.addEventListener("beforeunload", ask);
    return () => window.removeEventListener("beforeunload", ask);
  }, [active]);

  return (
    <Section
      title="Upload files"
      description="ACT-style HDF5, one file per episode. Each is checked before it is accepted; the originals stay as they are."
    >
      <Stack>
        {may && (
          <InstructionField
            value={instruction}
            onChange={(text) => {
              instructions.set(dataset.id, text);
              setInstruction(text);
            }}
            testid="upload-instruction"
          />
        )}
        {/* dropping is an addition for the mouse: the button inside does the same */}
        {/* eslint-disable-next-line jsx-a11y/no-noninteractive-element-interactions */}
        <section
          aria-label="Drop files here"
          className={classes.drop}
          data-over={over || undefined}
          data-testid="upload-drop"
          onDragOver={(event) => {
            event.preventDefault();
            setOver(may);
          }}
          onDragLeave={() => setOver(false)}
          onDrop={(event) => {
            event.preventDefault();
            setOver(false);
            if (may) uploads.add(event.dataTransfer.files);
          }}
        >
          <input
            ref={input}
            type="file"
            multiple
            accept=".hdf5,.h5,.he5"
            hidden
            data-testid="upload-input"
            onChange={(event) => {
              uploads.add(event.currentTarget.files ?? []);
              event.currentTarget.value = "";
            }}
          />
          <Stack align="center" gap="xs">
            <IconUpload size={28} stroke={1.4} />
            <Text size="sm">Drop .hdf5 files here, or</Text>
            <RoleButton
              needs="operator"
              variant="default"
              onClick={() => input.current?.click()}
              data-testid="upload-choose"
            >
              Choose files
            </RoleButton>
          </Stack>
        </section>
        {items.map((item) => (
          <UploadRow key={item.key} item={item} uploads={uploads} />
        ))}
        {items.length > 0 && !active && (
          <Group justify="flex-end">
            <Button size="xs" variant="subtle" color="gray" onClick={() => uploads.clear()}>
              Clear the list
            </Button>
          </Group>
        )}
      </Stack>
    </Section>
  );
}

function InstructionField({
  value,
  onChange,
  testid,
}: {
  value: string;
  onChange: (value: string) => void;
  testid: string;
}) {
  return (
    <TextInput
      label="Instruction"
      description="Only for files that have none of their own."
      placeholder="Transfer the red cube."
      value={value}
      maxLength={1000}
      onChange={(event) => onChange(event.currentTarget.value)}
      data-testid={testid}
    />
  );
}

function UploadRow({ item, uploads }: { item: UploadItem; uploads: Uploads }) {
  const { upload, file, key } = item;
  const share = upload.state === "sending" ? upload.share : upload.state === "checking" ? 1 : 0;
  const under = upload.state === "waiting" || upload.state === "sending" || upload.state === "checking";
  return (
    <Stack gap={4} data-testid="upload-row" data-state={upload.state}>
      <Group justify="space-between" wrap="nowrap" gap="sm">
        <Text size="sm" truncate fw={500}>
          {file.name}
        </Text>
        <Group gap="xs" wrap="nowrap">
          <Text size="xs" c="dimmed" style={{ whiteSpace: "nowrap" }} aria-live="polite">
            {uploadText(item)}
          </Text>
          {under ? (
            <Tooltip label="Cancel">
              <ActionIcon
                size="sm"
                variant="subtle"
                color="gray"
                onClick={() => uploads.cancel(key)}
                aria-label={`Cancel ${file.name}`}
              >
                <IconX size={14} />
              </ActionIcon>
            </Tooltip>
          ) : upload.state === "accepted" ? (
            <IconCheck size={16} color="var(--mantine-color-teal-6)" />
          ) : (
            <Tooltip label="Try again">
              <ActionIcon
                size="sm"
                variant="subtle"
                color="gray"
                onClick={() => uploads.retry(key)}
                aria-label={`Send ${file.name} again`}
              >
                <IconRefresh size={14} />
              </ActionIcon>
            </Tooltip>
          )}
        </Group>
      </Group>
      {under && (
        <Progress
          value={100 * share}
          size="sm"
          animated={upload.state === "checking"}
          aria-label={`Upload of ${file.name}`}
        />
      )}
      {upload.state === "accepted" && (
        <Text size="sm">
          <Anchor component={Link} to={`/episodes/${upload.episode.id}`} size="sm" data-testid="upload-open">
            Episode {upload.episode.number}
          </Anchor>
          {upload.warnings.map((warning) => (
            <Text key={warning} span size="sm" c="dimmed" display="block">
              {warning}
            </Text>
          ))}
        </Text>
      )}
      {upload.state === "refused" && (
        <Problems message={upload.message} errors={upload.errors} data-testid="upload-errors" />
      )}
    </Stack>
  );
}

function uploadText({ upload, file }: UploadItem): string {
  switch (upload.state) {
    case "waiting":
      return `waiting, ${formatBytes(file.size)}`;
    case "sending":
      return `${Math.floor(100 * upload.share)} % of ${formatBytes(file.size)}`;
    case "checking":
      return "being checked";
    case "accepted":
      return "accepted";
    case "refused":
      return "not accepted";
    case "cancelled":
      return "cancelled";
  }
}

function Problems({ message, errors, ...props }: { message: ReactNode; errors: string[]; "data-testid"?: string }) {
  return (
    <Alert color="red" p="xs" role="alert" {...props}>
      <Text size="sm" style={{ overflowWrap: "anywhere" }}>
        {message}
      </Text>
      {errors.length > 0 && (
        <List size="sm" mt={4}>
          {errors.map((error) => (
            <List.Item key={error}>{error}</List.Item>
          ))}
        </List>
      )}
    </Alert>
  );
}
