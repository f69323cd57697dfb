import { Anchor, Button, CloseButton, Kbd, Text } from "@mantine/core";
import { IconCamera } from "@tabler/icons-react";
import { useEffect, useRef } from "react";
import { Link } from "react-router";

import { useCan } from "@/api/queries";
import classes from "./annotate.module.css";
import { LabelDot } from "@/features/labels/core/LabelDot";
import { notifyDone, notifyError } from "@/ui/confirm";
import { Loaded } from "@/ui/Loaded";

import { Examples } from "@/features/labels/core/Examples";
import { withExample, withoutLost, type Example } from "@/features/labels/core/guideline";
import { useChangeVocabulary, useVocabulary, type Tier, type Vocabulary } from "@/features/labels/core/hooks";
import own from "@/features/labels/core/labelling.module.css";

interface Props {
  datasetId: string;
  tier: Tier;
  cameras: readonly string[];
  /** the text of the substep under the playhead, whose entry is brought into sight */
  text: string;
  /** what would be the example now */
  here: () => Example;
  close: () => void;
}

/** The guideline beside the annotator. Operators make the step under the playhead an example of an entry. */
export function GuidelinePanel({ datasetId, tier, cameras, text, here, close }: Props) {
  const query = useVocabulary(datasetId, tier);
  return (
    <section className={classes.panel} style={{ flex: "1 1 0" }} aria-label="Guideline" data-testid="guideline-panel">
      <div className={classes.panelHead}>
        <Text size="sm" fw={600}>
          Guideline
        </Text>
        <Anchor component={Link} to={`/datasets/${datasetId}/labels/guideline`} size="xs" ml="auto">
          Edit
        </Anchor>
        <CloseButton size="sm" onClick={close} aria-label="Close the guideline (Shift+G)" />
      </div>
      <div className={classes.scroll}>
        <Loaded query={query}>
          {(vocabulary) => (
            <Entries
              datasetId={datasetId}
              tier={tier}
              vocabulary={vocabulary}
              cameras={cameras}
              text={text}
              here={here}
            />
          )}
        </Loaded>
      </div>
    </section>
  );
}

function Entries({
  datasetId,
  tier,
  vocabulary,
  cameras,
  text: current,
  here,
}: Omit<Props, "close"> & { vocabulary: Vocabulary }) {
  const may = useCan("operator");
  const change = useChangeVocabulary(datasetId, tier);
  const shown = useRef<HTMLDivElement>(null);
  useEffect(() => {
    shown.current?.scrollIntoView({ block: "nearest" });
  }, [current]);

  const add = (index: number) => {
    const entries = withoutLost(vocabulary.entries);
    const entry = entries[index];
    const fuller = entry && withExample(entry, here());
    if (!fuller) {
      notifyDone("This frame is already an example, or the text has twelve.");
      return;
    }
    change.mutate(
      { edit: vocabulary.edit, entries: entries.with(index, fuller) },
      {
        onSuccess: () => notifyDone(`Added as an example of "${fuller.text}".`),
        onError: (error) => notifyError(error, "No example was added"),
      },
    );
  };
  if (vocabulary.entries.length === 0)
    return (
      <Text size="sm" c="dimmed" p="xs">
        The vocabulary has no entries yet.
      </Text>
    );
  return vocabulary.entries.map(({ text, digit, description, examples }, index) => (
    <div
      key={text}
      ref={text === current ? shown : undefined}
      className={own.beside}
      data-current={text === current || undefined}
      data-testid="guideline-panel-entry"
      data-text={text}
    >
      <div className={own.besideHead}>
        {digit !== null && <Kbd size="xs">{digit}</Kbd>}
        <LabelDot index={index} />
        <Text size="sm" fw={600} style={{ overflowWrap: "anywhere" }}>
          {text}
        </Text>
      </div>
      {description !== "" && (
        <Text size="sm" className={own.meaning} my={4}>
          {description}
        </Text>
      )}
      <Examples text={text} examples={examples} cameras={cameras} />
      {may && (
        <Button
          size="compact-xs"
          variant="subtle"
          color="gray"
          mt={2}
          leftSection={<IconCamera size={14} />}
          loading={change.isPending}
          onClick={() => add(index)}
          aria-label={`Add this step as an example of ${text}`}
          data-testid="example-add"
        >
          Add this step as an example
        </Button>
      )}
    </div>
  ));
}
