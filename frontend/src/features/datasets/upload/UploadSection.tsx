import { Button, Checkbox, Group, Stack, Text, TextInput } from "@mantine/core";
import { IconUpload } from "@tabler/icons-react";
import { useRef, useState, useSyncExternalStore } from "react";

import { events, queryClient, useCan } from "@/api/queries";
import { ErrorNote } from "@/ui/ErrorNote";
import { RoleButton } from "@/ui/RoleButton";
import { Section } from "@/ui/Section";

import type { Dataset } from "@/features/datasets/core/hooks";
import classes from "@/features/datasets/datasets.module.css";
import { fromDrop, fromInput, type Found } from "./found";
import type { Asked } from "./items";
import { Problems } from "./Problems";
import { transfer } from "./transfer";
import { Unfinished } from "./Unfinished";
import { UploadPanel } from "./UploadPanel";
import { Uploads } from "./uploads";

/** Uploads go on while other pages are looked at, and are seen again when one comes back. */
const running = new Map<string, Uploads>();
/** What was said of the files to be sent, by dataset. */
const said = new Map<string, Asked>();

function uploadsOf(datasetId: string): Uploads {
  const found = running.get(datasetId);
  if (found) return found;
  const made = new Uploads(datasetId, transfer, () => {
    for (const topic of ["episode", "dataset"]) void queryClient.invalidateQueries({ queryKey: [topic] });
  });
  window.addEventListener("online", () => made.retryFailed());
  events.onChange("dataset", made.look);
  running.set(datasetId, made);
  return made;
}

export function UploadSection({ dataset }: { dataset: Dataset }) {
  const may = useCan("operator");
  const uploads = uploadsOf(dataset.id);
  const summary = useSyncExternalStore(uploads.subscribe, uploads.snapshot);
  const [over, setOver] = useState(false);
  const [unread, setUnread] = useState<unknown>(null);
  const [asked, setAsked] = useState(said.get(dataset.id) ?? { instruction: "", look_first: false });
  const ask = (some: Partial<Asked>) => {
    const now = { ...asked, ...some };
    said.set(dataset.id, now);
    setAsked(now);
  };
  const files = useRef<HTMLInputElement>(null);
  const folder = useRef<HTMLInputElement>(null);

  const take = (found: Found[]) => {
    setUnread(found.length === 0 ? new Error("There are no files in what was dropped or chosen.") : null);
    void uploads.add(found, asked);
  };
  const choose = (event: React.ChangeEvent<HTMLInputElement>) => {
    take(fromInput(event.currentTarget.files ?? []));
    event.currentTarget.value = "";
  };

  return (
    <Section
      title="Upload files"
      description="HDF5 files, one an episode, are checked and taken in one by one. A folder of another format is kept for an import. If the line breaks or this page is closed, what has arrived stays."
    >
      <Stack>
        {may && (
          <>
            <InstructionField
              value={asked.instruction}
              onChange={(instruction) => ask({ instruction })}
              testid="upload-instruction"
            />
            <Checkbox
              label="Look at HDF5 files before they become episodes"
              description="They wait for an import, which shows them and asks what they do not say: colours, rate, cameras, units, broken ends."
              checked={asked.look_first}
              onChange={(event) => ask({ look_first: event.currentTarget.checked })}
              data-testid="upload-look-first"
            />
          </>
        )}
        {/* dropping is an addition for the mouse: the buttons inside do the same */}
        {/* eslint-disable-next-line jsx-a11y/no-noninteractive-element-interactions */}
        <section
          aria-label="Drop files or folders here"
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
            if (may) fromDrop(event.dataTransfer.items).then(take, setUnread);
          }}
        >
          <input ref={files} type="file" multiple hidden data-testid="upload-input" onChange={choose} />
          <input
            ref={(input) => {
              folder.current = input;
              input?.setAttribute("webkitdirectory", "");
            }}
            type="file"
            multiple
            hidden
            data-testid="upload-folder-input"
            onChange={choose}
          />
          <Stack align="center" gap="xs">
            <IconUpload size={28} stroke={1.4} />
            <Text size="sm">Drop files or folders here, or</Text>
            <Group gap="xs" justify="center">
              <RoleButton
                needs="operator"
                variant="default"
                onClick={() => files.current?.click()}
                data-testid="upload-choose"
              >
                Choose files
              </RoleButton>
              <RoleButton
                needs="operator"
                variant="default"
                onClick={() => folder.current?.click()}
                data-testid="upload-choose-folder"
              >
                Choose a folder
              </RoleButton>
            </Group>
          </Stack>
        </section>
        <ErrorNote error={unread} />
        {summary.problem && (
          <Stack gap="xs">
            <Problems {...summary.problem} data-testid="upload-problem" />
            <Group justify="flex-end">
              <Button size="xs" variant="default" onClick={() => uploads.again()}>
                Try again
              </Button>
            </Group>
          </Stack>
        )}
        <UploadPanel uploads={uploads} summary={summary} asked={asked} />
        <Unfinished datasetId={dataset.id} uploads={uploads} items={summary.items} />
      </Stack>
    </Section>
  );
}

export function InstructionField({
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
