import {
  Alert,
  Badge,
  Button,
  Group,
  Modal,
  NumberInput,
  SegmentedControl,
  Stack,
  TagsInput,
  Text,
  Textarea,
} from "@mantine/core";
import { useState } from "react";

import { inThePage } from "@/ui/inThePage";
import { performAction } from "./shortcuts";
import { useAnnotator, useEditorState, usePlayer } from "./context";
import { withOutcome, type Content } from "./editor";

import { linesOf } from "@/features/labels/core/words";

const QUALITIES = [
  { value: "good", label: "Good" },
  { value: "doubtful", label: "Doubtful" },
  { value: "unusable", label: "Unusable" },
  { value: "", label: "Not rated" },
];

/** Opens the details; says what stands out in them. Substeps alone have any. */
export function DetailsButton() {
  const { actions, about, episode } = useAnnotator();
  const { quality, tags, failure_step, paraphrases } = useEditorState().content;
  if (about.tier !== "substep") return null;
  const said = tags.length + paraphrases.length + Number(failure_step !== null);
  return (
    <Button
      size="xs"
      variant="default"
      style={{ flexShrink: 0 }}
      onClick={() => performAction(actions, "details")}
      rightSection={
        quality !== null && quality !== "good" ? (
          <Badge color={quality === "unusable" ? "red" : "yellow"}>{quality}</Badge>
        ) : episode.guesses.length > 0 ? (
          <Badge color="yellow">{episode.guesses.length === 1 ? "a guess" : `${episode.guesses.length} guesses`}</Badge>
        ) : said > 0 ? (
          <Badge color="gray">{said}</Badge>
        ) : null
      }
      data-testid="details-open"
    >
      Details
    </Button>
  );
}

/** What is said of the episode as a whole. Every change counts at once, and is undone like any other. */
export function EpisodeDetails({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const { about } = useAnnotator();
  return (
    <Modal
      opened={opened && about.tier === "substep"}
      onClose={onClose}
      title="The episode as a whole"
      size="lg"
      data-testid="details"
    >
      <Fields />
    </Modal>
  );
}

function Fields() {
  const { editor, episode } = useAnnotator();
  const { content } = useEditorState();
  const step = usePlayer((state) => state.step);
  const [lines, setLines] = useState(content.paraphrases.join("\n"));
  const change = (part: Partial<Content>, group: string | null = null) =>
    editor.change((old) => ({ ...old, ...part }), group);
  const off = editor.readOnly;
  return (
    <Stack gap="md">
      {episode.guesses.length > 0 && (
        <Alert color="yellow" title="Guessed when it was taken in" p="sm" data-testid="details-guesses">
          {episode.guesses.map((guess) => (
            <Text key={guess} size="sm" style={{ overflowWrap: "anywhere" }}>
              {inThePage(guess)}
            </Text>
          ))}
        </Alert>
      )}
      <Textarea
        label="Other wordings of the instruction, one per line"
        description={`The instruction is: ${content.instruction}`}
        autosize
        minRows={2}
        maxRows={10}
        value={lines}
        readOnly={off}
        onChange={(event) => {
          setLines(event.currentTarget.value);
          change({ paraphrases: [...new Set(linesOf(event.currentTarget.value))] }, "paraphrases");
        }}
        data-testid="details-paraphrases"
        data-autofocus
      />
      <Field label="Did the robot do it?">
        <SegmentedControl
          disabled={off}
          value={content.success === null ? "unknown" : content.success ? "success" : "failure"}
          onChange={(value) =>
            editor.change((old) => withOutcome(old, value === "unknown" ? null : value === "success"))
          }
          data={[
            { value: "success", label: "Success" },
            { value: "failure", label: "Failure" },
            { value: "unknown", label: "Unknown" },
          ]}
          aria-label="Did the robot do it?"
          data-testid="details-outcome"
        />
      </Field>
      <Group align="flex-end" gap="xs">
        <NumberInput
          label="Step where it went wrong"
          description={content.success === false ? undefined : "Only a failure has one"}
          inputWrapperOrder={["label", "input", "description"]}
          placeholder="not set"
          min={0}
          max={episode.steps - 1}
          clampBehavior="strict"
          allowDecimal={false}
          disabled={off || content.success !== false}
          value={content.failure_step ?? ""}
          onChange={(value) => change({ failure_step: typeof value === "number" ? value : null }, "failure-step")}
          w={230}
          data-testid="details-failure-step"
        />
        <Button
          variant="default"
          disabled={off || content.success !== false}
          onClick={() => change({ failure_step: step })}
          data-testid="details-failure-here"
        >
          Step {step}, at the playhead
        </Button>
      </Group>
      <Field label="Quality as training data">
        <SegmentedControl
          disabled={off}
          value={content.quality ?? ""}
          onChange={(value) => change({ quality: value === "" ? null : (value as Content["quality"]) })}
          data={QUALITIES}
          aria-label="Quality as training data"
          data-testid="details-quality"
        />
      </Field>
      <TagsInput
        label="Tags"
        description="Enter adds one"
        placeholder={content.tags.length === 0 ? "regrasp, occluded" : undefined}
        maxTags={50}
        maxLength={64}
        readOnly={off}
        value={[...content.tags]}
        onChange={(tags) => change({ tags })}
        data-testid="details-tags"
      />
    </Stack>
  );
}

function Field({ label, children }: { label: string; children: React.ReactNode }) {
  return (
    <div>
      <Text size="sm" fw={500} mb={4} aria-hidden>
        {label}
      </Text>
      {children}
    </div>
  );
}
