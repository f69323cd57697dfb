import { Alert, Anchor, Autocomplete, Badge, Button, Group, Select, Stack, Text } from "@mantine/core";
import { useState } from "react";
import { Link } from "react-router";

import { ApiError, fieldsOf, type Schema } from "@/api/client";
import { tidy } from "@/features/labels/core/timeline";
import { DataTable, type Column } from "@/ui/DataTable";
import { ErrorNote } from "@/ui/ErrorNote";
import { formatCount, plural } from "@/ui/format";
import { Loaded } from "@/ui/Loaded";
import { RoleButton } from "@/ui/RoleButton";
import { Section } from "@/ui/Section";

import { usePreviewRename, useRename, useVocabulary, type Tier, type Vocabulary } from "@/features/labels/core/hooks";
import classes from "@/features/labels/core/labelling.module.css";
import { Skipped } from "./Skipped";

type Preview = Schema<"RenamePreview">;

/** Another text for an entry in every episode; a text that is there already makes the two one. */
export function RenameSection({ datasetId, tier }: { datasetId: string; tier: Tier }) {
  const query = useVocabulary(datasetId, tier);
  return (
    <Section
      title="Rename or merge a text"
      description="In the vocabulary, in everybody's drafts and in published labels. To merge two texts, rename one to the other."
    >
      <Loaded query={query}>
        {(vocabulary) => <Form datasetId={datasetId} tier={tier} vocabulary={vocabulary} />}
      </Loaded>
    </Section>
  );
}

function Form({ datasetId, tier, vocabulary }: { datasetId: string; tier: Tier; vocabulary: Vocabulary }) {
  const preview = usePreviewRename(datasetId);
  const rename = useRename(datasetId);
  const [old, setOld] = useState<string | null>(null);
  const [fresh, setFresh] = useState("");
  const wanted = tidy(fresh);
  const ready = old !== null && wanted !== "" && wanted !== old;
  const texts = textsOf(vocabulary);
  const shown = preview.data?.old === old && preview.data.new === wanted ? preview.data : null;
  const changed = () => {
    preview.reset();
    rename.reset();
  };
  const look = () => {
    if (ready) preview.mutate({ tier, old, new: wanted });
  };

  return (
    <Stack gap="sm">
      <form
        onSubmit={(event) => {
          event.preventDefault();
          look();
        }}
      >
        <Group align="flex-end" gap="sm">
          <Select
            label="Text"
            placeholder={texts.length === 0 ? "no text is in use yet" : "choose one"}
            searchable
            data={texts}
            value={old}
            onChange={(value) => {
              setOld(value);
              changed();
            }}
            nothingFoundMessage="No such text"
            style={{ flex: "1 1 16rem" }}
            data-testid="rename-old"
          />
          <Autocomplete
            label="New text"
            placeholder="as it should be, or another entry"
            data={texts.map(({ value }) => value).filter((text) => text !== old)}
            limit={8}
            maxLength={400}
            value={fresh}
            error={fieldsOf(preview.error).new}
            onChange={(value) => {
              setFresh(value);
              changed();
            }}
            style={{ flex: "1 1 16rem" }}
            data-testid="rename-new"
          />
          <RoleButton
            type="submit"
            needs="operator"
            variant="default"
            disabled={!ready}
            loading={preview.isPending}
            data-testid="rename-preview"
          >
            Preview
          </RoleButton>
        </Group>
      </form>
      <ErrorNote error={preview.error} />
      {shown && rename.data === undefined && (
        <Affected
          preview={shown}
          pending={rename.isPending}
          error={rename.error}
          again={look}
          rename={() => rename.mutate({ tier, old: shown.old, new: shown.new, expected: shown.fingerprint })}
        />
      )}
      {rename.data && (
        <Alert color="teal" title={`Renamed in ${plural(rename.data.changed, "episode")}`} data-testid="rename-done">
          The change is listed below and can be undone there.
          <Skipped skipped={rename.data.skipped} />
        </Alert>
      )}
    </Stack>
  );
}

/** Entries in their order, then what is in use besides. */
function textsOf({ entries, strangers }: Vocabulary): { value: string; label: string }[] {
  return [
    ...entries.map(({ text, segments }) => ({ value: text, label: `${text} (${formatCount(segments)})` })),
    ...strangers.map((text) => ({ value: text, label: `${text} (not in the vocabulary)` })),
  ];
}

interface AffectedProps {
  preview: Preview;
  pending: boolean;
  error: unknown;
  again: () => void;
  rename: () => void;
}

function Affected({ preview, pending, error, again, rename }: AffectedProps) {
  const { episodes, segments, merges, in_template, old } = preview;
  const held = episodes.filter(({ held_by }) => held_by !== null).length;
  const stale = error instanceof ApiError && error.status === 409;
  return (
    <Stack gap="xs" data-testid="rename-affected" data-count={episodes.length}>
      <Text size="sm">
        {episodes.length === 0
          ? "No episode has this text: only the vocabulary changes."
          : `${plural(segments, "substep")} of drafts in ${plural(episodes.length, "episode")}, and those of them that are published.`}
        {in_template && " The dataset's template changes too."}
        {held > 0 && ` ${plural(held, "episode")} that somebody is working on would be left out.`}
      </Text>
      {merges && (
        <Alert color="yellow" p="xs" data-testid="rename-merges">
          The new text is in use already: the two become one, and &quot;{old}&quot; leaves the vocabulary. Undoing
          separates them again.
        </Alert>
      )}
      {episodes.length > 0 && (
        <div className={classes.scroll}>
          <DataTable
            label="Episodes that change"
            rows={episodes}
            columns={AFFECTED}
            rowKey={({ episode_id }) => episode_id}
            rowTestId="rename-episode"
            minWidth={420}
          />
        </div>
      )}
      <ErrorNote error={error} />
      <Group gap="xs">
        {stale ? (
          <Button onClick={again} data-testid="rename-again">
            Preview again
          </Button>
        ) : (
          <RoleButton needs="operator" loading={pending} onClick={rename} data-testid="rename-apply">
            {merges ? "Merge" : "Rename"} in {plural(episodes.length, "episode")}
          </RoleButton>
        )}
      </Group>
    </Stack>
  );
}

const AFFECTED: Column<Preview["episodes"][number]>[] = [
  {
    key: "number",
    header: "Episode",
    sort: ({ number }) => number,
    cell: ({ episode_id, number }) => (
      <Anchor component={Link} to={`/episodes/${episode_id}`} fw={600} size="sm">
        {number}
      </Anchor>
    ),
  },
  { key: "draft", header: "In drafts", align: "right", sort: ({ draft }) => draft, cell: ({ draft }) => draft },
  {
    key: "published",
    header: "Published",
    align: "right",
    sort: ({ published }) => published,
    cell: ({ published }) => published,
  },
  {
    key: "held",
    header: "",
    cell: ({ held_by }) => held_by !== null && <Badge color="orange">{held_by} is working on it: left out</Badge>,
  },
];
