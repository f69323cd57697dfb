import { Alert, Group, List, Loader, Select, Stack, Text } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useState } from "react";

import { notifyDone } from "@/ui/confirm";
import { ErrorNote } from "@/ui/ErrorNote";
import { plural } from "@/ui/format";
import { RoleButton } from "@/ui/RoleButton";

import { inThePage } from "@/ui/inThePage";
import { CameraQuestion } from "./CameraQuestion";
import { useImportPreview, useStartImport, useUnderWay, type Source } from "./hooks";
import classes from "./importing.module.css";
import { MotionQuestion } from "./MotionQuestion";
import { EMPTY, sameProfile, type Preview, type Profile } from "./profile";
import { ProfileBar } from "./ProfileBar";
import { Question } from "./Question";
import { InstructionQuestion, OtherQuestions, RateQuestion } from "./TextQuestions";

const SETTLED_MS = 400;

/** What was answered, by source: it is there when one comes back from another page. */
const answers = new Map<string, Profile>();

/** What is in a folder, what its files do not say, and the import of all its episodes. */
export function Wizard({ datasetId, source }: { datasetId: string; source: Source }) {
  const at = JSON.stringify(source);
  const [profile, put] = useState(answers.get(at) ?? EMPTY);
  const setProfile = (to: Profile) => {
    answers.set(at, to);
    put(to);
  };
  const [episode, setEpisode] = useState<string | null>(null);
  const [settled] = useDebouncedValue(profile, SETTLED_MS);
  const query = useImportPreview(source, settled, episode);
  const start = useStartImport(datasetId);
  const running = useUnderWay(datasetId);
  // what was found stays while an answer is refused: it is in the questions below that one mends it
  const [last, setLast] = useState<Preview>();
  if (query.data && query.data !== last) setLast(query.data);
  const preview = query.data ?? last;
  const waiting = query.isFetching || !sameProfile(profile, settled);
  return (
    <Stack data-testid="import-wizard" data-ready={(preview !== undefined && !waiting && !query.error) || undefined}>
      <ProfileBar profile={profile} onChange={setProfile} />
      <ErrorNote
        error={query.error}
        title={preview === undefined ? "This folder cannot be shown" : "It cannot be shown with these answers"}
        retry={() => void query.refetch()}
      />
      {preview === undefined && query.isPending && (
        <Group gap="xs">
          <Loader size="xs" />
          <Text size="sm">Looking at the first episode</Text>
        </Group>
      )}
      {preview && (
        <>
          <Found preview={preview} waiting={waiting} onEpisode={setEpisode} />
          <InstructionQuestion preview={preview} profile={profile} onChange={setProfile} />
          <RateQuestion preview={preview} profile={profile} onChange={setProfile} />
          {preview.cameras.length > 0 && (
            <CameraQuestion
              cameras={preview.cameras}
              profile={profile}
              guessed={preview.guessed.includes("colours") || preview.guessed.includes("turned")}
              onChange={setProfile}
            />
          )}
          <MotionQuestion preview={preview} profile={profile} onChange={setProfile} />
          <Labels preview={preview} />
          <OtherQuestions preview={preview} profile={profile} onChange={setProfile} />
        </>
      )}
      <Group justify="space-between" className={classes.bar}>
        <Text size="sm" c="dimmed" aria-live="polite">
          {preview && summary(preview)}
        </Text>
        <RoleButton
          needs="operator"
          loading={start.isPending}
          because={running ?? notYet(query.error, waiting)}
          onClick={() =>
            start.mutate(
              { source, profile },
              {
                onSuccess: () => {
                  window.scrollTo({ top: 0 });
                  notifyDone("The import has begun; it is shown above the tabs.");
                },
              },
            )
          }
          data-testid="import-start"
        >
          {preview ? `Import ${plural(preview.episodes, "episode")}` : "Import"}
        </RoleButton>
      </Group>
      <ErrorNote error={start.error} />
    </Stack>
  );
}

/** Why these answers cannot be imported with; null where they can. */
function notYet(error: unknown, waiting: boolean): string | null {
  if (error !== null) return "It cannot be shown with these answers; the note above says why.";
  return waiting ? "What the answers change is being looked at." : null;
}

/** "2 guesses will be kept with the episodes, and shown where they are labelled and exported." */
function summary({ guesses, refusals }: Preview): string {
  if (refusals.length > 0) return "The episode that is shown would be refused; others may be fine.";
  if (guesses.length === 0) return "Nothing is guessed.";
  return `${plural(guesses.length, "guess", "guesses")} will be kept with the episodes, and shown where they are labelled and exported.`;
}

function Found({
  preview,
  waiting,
  onEpisode,
}: {
  preview: Preview;
  waiting: boolean;
  onEpisode: (name: string) => void;
}) {
  return (
    <Stack gap="xs" data-testid="import-found" data-format={preview.format}>
      <Group align="flex-end" justify="space-between">
        <div>
          <Text fw={600}>
            {preview.format_title}, {plural(preview.episodes, "episode")}
          </Text>
          <Text size="sm" c="dimmed">
            {preview.format_guessed ? "Found by looking at the files." : "As the profile says."}{" "}
            {preview.steps > 0 && lengthText(preview)}
          </Text>
        </div>
        <Group gap="xs" align="flex-end">
          {waiting && <Loader size="xs" mb={10} />}
          <Select
            label="Episode that is shown"
            data={preview.names}
            value={preview.episode}
            allowDeselect={false}
            searchable
            limit={100}
            onChange={(name) => name !== null && onEpisode(name)}
            w={280}
            data-testid="import-episode"
          />
        </Group>
      </Group>
      {preview.refusals.length > 0 && (
        <Alert color="red" title={`${preview.episode} would be refused`} data-testid="import-refusals">
          <Said texts={preview.refusals.map(inThePage)} />
        </Alert>
      )}
      {preview.guesses.length > 0 && (
        <Alert color="yellow" title="Guessed" data-testid="import-guesses">
          <Said texts={preview.guesses.map(inThePage)} />
        </Alert>
      )}
      {preview.warnings.length > 0 && (
        <details className={classes.said}>
          <summary>{plural(preview.warnings.length, "note")} about this episode</summary>
          <ul>
            {preview.warnings.map((text) => (
              <li key={text}>{inThePage(text)}</li>
            ))}
          </ul>
        </details>
      )}
    </Stack>
  );
}

function lengthText({ steps, kept_steps }: Preview): string {
  return kept_steps === steps || kept_steps === 0
    ? `${plural(steps, "step")} in this one.`
    : `${plural(kept_steps, "step")} of ${steps} in this one.`;
}

function Said({ texts }: { texts: string[] }) {
  return (
    <List size="sm">
      {texts.map((text) => (
        <List.Item key={text} style={{ overflowWrap: "anywhere" }}>
          {text}
        </List.Item>
      ))}
    </List>
  );
}

/** Substeps that the file brings: proposals, until somebody accepts them. */
function Labels({ preview: { labels } }: { preview: Preview }) {
  if (!labels) return null;
  return (
    <Question title="Labels">
      <Text size="sm" data-testid="import-labels">
        {plural(labels.count, "substep")} in this episode, kept as proposals until somebody has looked:{" "}
        {labels.segments
          .slice(0, 8)
          .map(({ text }) => `"${text}"`)
          .join(", ")}
        {labels.count > 8 && " ..."}
      </Text>
      <Text size="sm" c="dimmed">
        After the import the dataset offers to accept them for all episodes at once; see <b>Accept imported labels</b>{" "}
        above its tabs.
      </Text>
    </Question>
  );
}
