import { Button, Checkbox, FileButton, Group, SegmentedControl, Text, TextInput } from "@mantine/core";
import { useMediaQuery } from "@mantine/hooks";
import { useRef } from "react";

import { inThePage } from "@/ui/inThePage";
import { ErrorNote } from "@/ui/ErrorNote";
import { formatSeconds, plural } from "@/ui/format";
import { NumberField } from "@/ui/NumberField";

import { useReadTable } from "./hooks";
import { Question } from "./Question";
import { instructionText, type Preview, type Profile } from "./profile";

interface Props {
  preview: Preview;
  profile: Profile;
  onChange: (profile: Profile) => void;
}

const PLACES = [
  { value: "file", label: "The files" },
  { value: "folder", label: "The folder's name" },
  { value: "table", label: "A table" },
  { value: "text", label: "Typed" },
] as const;

/** What the robot is to do: as the files say, by the folder's name, from a table, or typed. */
export function InstructionQuestion({ preview, profile, onChange }: Props) {
  const read = useReadTable();
  const entries = Object.keys(profile.instruction_table ?? {}).length;
  const found = preview.instruction;
  const small = useMediaQuery("(max-width: 48em)", undefined, { getInitialValueInEffect: false });
  const reset = useRef<() => void>(null);
  return (
    <Question title="Instruction">
      <SegmentedControl
        value={profile.instruction_from}
        onChange={(value) => onChange({ ...profile, instruction_from: value })}
        data={[...PLACES]}
        orientation={small ? "vertical" : "horizontal"}
        aria-label="Where instructions come from"
        data-testid="import-instruction-from"
      />
      <Group mt="xs" align="flex-end" gap="sm">
        <TextInput
          label={profile.instruction_from === "text" ? "Instruction" : "Instruction of episodes without one"}
          placeholder="Transfer the red cube."
          value={profile.instruction ?? ""}
          maxLength={1000}
          onChange={(event) => onChange({ ...profile, instruction: event.currentTarget.value || null })}
          style={{ flex: "1 1 260px" }}
          data-testid="import-instruction"
        />
        <FileButton
          accept=".csv,.json,.yaml,.yml"
          resetRef={reset}
          onChange={(file) => {
            if (file)
              read.mutate(file, {
                onSuccess: ({ table }) => onChange({ ...profile, instruction_from: "table", instruction_table: table }),
              });
            reset.current?.(); // the same file is a choice again, after it was mended
          }}
          inputProps={{ "data-testid": "import-table-file" } as never}
        >
          {(props) => (
            <Button {...props} variant="default" loading={read.isPending} data-testid="import-table">
              {entries > 0 ? `Another table (${plural(entries, "entry", "entries")})` : "Table: CSV or JSON"}
            </Button>
          )}
        </FileButton>
      </Group>
      <ErrorNote error={read.error} />
      {found && (
        <Text size="sm" mt="xs" c={found.text === null ? "red" : undefined} data-testid="import-instruction-found">
          {preview.episode}: {instructionText(found)}
        </Text>
      )}
    </Question>
  );
}

/** The control rate; never of another episode. */
export function RateQuestion({ preview, profile, onChange }: Props) {
  const times = preview.times;
  if (!times) return null;
  return (
    <Question title="Control rate" guess={preview.guessed.includes("fps")}>
      <Group align="flex-end" gap="lg">
        <NumberField
          label="Where an episode does not say it"
          value={profile.fps ?? null}
          onChange={(value) => onChange({ ...profile, fps: value })}
          mayBeEmpty
          above={0}
          max={1000}
          suffix=" Hz"
          placeholder={times.fps === null ? "not known" : `${times.fps} Hz`}
          w={280}
          data-testid="import-fps"
        />
        <Checkbox
          mb={8}
          label="Also where it says another rate"
          checked={profile.fps_from === "profile"}
          disabled={!profile.fps}
          onChange={(event) => onChange({ ...profile, fps_from: event.currentTarget.checked ? "profile" : "file" })}
          data-testid="import-fps-from"
        />
      </Group>
      <Text size="sm" mt="xs" data-testid="import-fps-found">
        {preview.episode}: {rateText(times)}
      </Text>
      {times.said.map((text) => (
        <Text key={text} size="sm" c="dimmed" style={{ overflowWrap: "anywhere" }}>
          {inThePage(text)}
        </Text>
      ))}
    </Question>
  );
}

function rateText({ fps, fps_from, seconds, stamps }: NonNullable<Preview["times"]>): string {
  if (fps === null) return stamps ? "its time stamps show no steady rate" : "it has neither a rate nor time stamps";
  const guess = stamps ? "guessed from its time stamps" : "a guess";
  const from = { file: "as the file says", profile: "as you say", guess };
  return `${fps} Hz, ${from[fps_from ?? "file"]}${seconds === null ? "" : `; ${formatSeconds(seconds)}`}`;
}

/** What is left: the robot's name, and what becomes of episodes that end in broken steps. */
export function OtherQuestions({ preview, profile, onChange }: Props) {
  return (
    <Question title="Robot, and broken ends">
      <Group align="flex-end" gap="lg">
        <TextInput
          label="Robot's name"
          placeholder={preview.robot ?? "as the files say"}
          value={profile.robot ?? ""}
          maxLength={64}
          onChange={(event) => onChange({ ...profile, robot: event.currentTarget.value || null })}
          w={220}
          data-testid="import-robot"
        />
        <Checkbox
          mb={8}
          label="Where an episode's end is broken, keep the steps before it"
          checked={profile.keep_good_steps}
          onChange={(event) => onChange({ ...profile, keep_good_steps: event.currentTarget.checked })}
          data-testid="import-keep-good"
        />
      </Group>
    </Question>
  );
}
