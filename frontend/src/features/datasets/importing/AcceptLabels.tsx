import { Accordion, Alert, Anchor, Button, Group, Modal, Select, Stack, Text } from "@mantine/core";
import { useDisclosure } from "@mantine/hooks";
import { IconTags } from "@tabler/icons-react";
import { useState } from "react";
import { Link } from "react-router";

import type { Schema } from "@/api/client";
import { useCan } from "@/api/queries";
import type { Dataset } from "@/features/datasets/core/hooks";
import { notifyDone } from "@/ui/confirm";
import { ErrorNote } from "@/ui/ErrorNote";
import { plural } from "@/ui/format";
import { RoleButton } from "@/ui/RoleButton";

import { middleOf, useAcceptImported, useImportedLabels, type ImportedEpisode } from "./accept";
import classes from "./importing.module.css";

/** Offers to publish the labels that files brought, to somebody who looks at some of them first. */
export function AcceptLabels({ dataset, busy }: { dataset: Dataset; busy: boolean }) {
  const may = useCan("operator");
  const query = useImportedLabels(dataset, may && !busy);
  const [opened, { open, close }] = useDisclosure(false);
  const found = query.data;
  if (!may || !found || found.episodes === 0) return null;
  return (
    <>
      <Alert icon={<IconTags size={18} />} color="blue" p="sm" data-testid="imported-labels">
        <Group justify="space-between" gap="sm">
          <Text size="sm">
            {plural(found.episodes, "episode")} came with labels that nobody has accepted yet. They train nothing until
            somebody has looked at them.
          </Text>
          <Button size="xs" variant="default" onClick={open} data-testid="imported-labels-open">
            Accept imported labels
          </Button>
        </Group>
      </Alert>
      <Modal
        opened={opened}
        onClose={close}
        title={`Imported labels of ${plural(found.episodes, "episode")}`}
        size="xl"
        data-testid="imported-labels-dialog"
      >
        {opened && <Look dataset={dataset} found={found} onDone={close} />}
      </Modal>
    </>
  );
}

function Look({
  dataset,
  found,
  onDone,
}: {
  dataset: Dataset;
  found: Schema<"ImportedLabelsOut">;
  onDone: () => void;
}) {
  const accept = useAcceptImported(dataset.id);
  const [seen, setSeen] = useState<ReadonlySet<string>>(new Set());
  const [camera, setCamera] = useState(dataset.cameras[0] ?? "");
  const left = found.to_look_at - seen.size;
  return (
    <Stack>
      <Text size="sm">
        Open some of these, spread over all {found.episodes}: each shows a frame from the middle of every substep. If
        they fit, accept the labels of all; it can be undone under Labelling, Bulk edits.
      </Text>
      <Text size="sm" c="dimmed">
        {found.texts
          .slice(0, 12)
          .map(({ text, segments }) => `"${text}" (${segments})`)
          .join(", ")}
        {found.texts.length > 12 && " ..."}
      </Text>
      {dataset.cameras.length > 1 && (
        <Select
          size="xs"
          label="Camera"
          data={dataset.cameras}
          value={camera}
          allowDeselect={false}
          onChange={(value) => setCamera(value ?? "")}
          w={220}
        />
      )}
      <Accordion
        multiple
        variant="separated"
        onChange={(values) => setSeen((old) => new Set([...old, ...values]))}
        data-testid="imported-labels-sample"
      >
        {found.sample.map((episode) => (
          <Accordion.Item key={episode.episode_id} value={episode.episode_id}>
            <Accordion.Control data-testid="imported-labels-episode" data-seen={seen.has(episode.episode_id)}>
              <Group gap="xs" wrap="nowrap">
                <Text size="sm" fw={500} style={{ flexShrink: 0 }}>
                  Episode {episode.number}
                </Text>
                <Text size="sm" c="dimmed" truncate>
                  {plural(episode.segments.length, "substep")}, {episode.instruction}
                </Text>
              </Group>
            </Accordion.Control>
            <Accordion.Panel>
              {seen.has(episode.episode_id) && <Strip episode={episode} camera={camera} />}
            </Accordion.Panel>
          </Accordion.Item>
        ))}
      </Accordion>
      {found.skipped.length > 0 && (
        <details className={classes.said}>
          <summary>{plural(found.skipped.length, "other episode")} cannot be accepted at once</summary>
          <ul>
            {found.skipped.slice(0, 50).map(({ episode_id, number, reason }) => (
              <li key={episode_id}>
                <Anchor component={Link} to={`/episodes/${episode_id}`} size="sm">
                  Episode {number}
                </Anchor>
                : {reason}
              </li>
            ))}
          </ul>
        </details>
      )}
      <ErrorNote error={accept.error} />
      <Group justify="space-between">
        <Text size="sm" c="dimmed" aria-live="polite" data-testid="imported-labels-seen">
          {left > 0 ? `Open ${left} more.` : `You have looked at ${plural(seen.size, "episode")}.`}
        </Text>
        <RoleButton
          needs="operator"
          because={left > 0 ? `Look at ${left} more of them first.` : null}
          loading={accept.isPending}
          onClick={() =>
            accept.mutate(
              { fingerprint: found.fingerprint, looked_at: [...seen] },
              {
                onSuccess: ({ changed, skipped }) => {
                  const stay = skipped.length === 1 ? "1 stays as it is" : `${skipped.length} stay as they are`;
                  notifyDone(
                    `Labels of ${plural(changed, "episode")} are accepted${skipped.length > 0 ? `; ${stay}` : ""}.`,
                  );
                  onDone();
                },
              },
            )
          }
          data-testid="imported-labels-accept"
        >
          Accept the labels of {plural(found.episodes, "episode")}
        </RoleButton>
      </Group>
    </Stack>
  );
}

/** A frame from the middle of every substep, with its text. */
function Strip({ episode, camera }: { episode: ImportedEpisode; camera: string }) {
  const shown = episode.cameras.includes(camera) ? camera : (episode.cameras[0] ?? "");
  return (
    <Stack gap="xs">
      {/* it scrolls, so the keyboard must reach it */}
      {/* eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
      <div className={classes.strip} tabIndex={0} role="group" aria-label={`Substeps of episode ${episode.number}`}>
        {episode.segments.map((segment) => (
          <figure key={segment.start}>
            <img
              src={`/api/episodes/${episode.episode_id}/frames/${encodeURIComponent(shown)}/${middleOf(segment)}`}
              alt={`Step ${middleOf(segment)}`}
              loading="lazy"
            />
            <figcaption>
              {segment.text} ({segment.start} to {segment.end - 1})
            </figcaption>
          </figure>
        ))}
      </div>
      <Text size="sm">
        <Anchor component={Link} to={`/episodes/${episode.episode_id}`} size="sm">
          Open it in the annotator
        </Anchor>
      </Text>
    </Stack>
  );
}
