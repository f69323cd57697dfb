import { Anchor, Kbd, Text, Tooltip } from "@mantine/core";
import { Link } from "react-router";

import classes from "./annotate.module.css";
import { useAnnotator } from "./context";
import { LabelDot } from "@/features/labels/core/LabelDot";
import { labelHere, labelSegment } from "./labelling";

/** What the digits say: the dataset's vocabulary, then the texts that this episode uses besides. */
export function VocabularyPanel() {
  const { episode, editor, entries, labelling } = useAnnotator();
  return (
    <section className={classes.panel} style={{ flex: "0 1 auto", maxHeight: "46%" }} aria-label="Vocabulary">
      <div className={classes.panelHead}>
        <Tooltip label="A digit, or a click, cuts at the playhead and labels the substep that ends there. With Shift it labels the substep under the playhead and cuts nothing.">
          <Text size="sm" fw={600}>
            Vocabulary
          </Text>
        </Tooltip>
        <Anchor component={Link} to={`/datasets/${episode.dataset_id}?tab=vocabulary`} size="xs">
          Edit
        </Anchor>
      </div>
      <div className={classes.scroll} data-testid="vocabulary-panel">
        {entries.length === 0 && (
          <Text size="sm" c="dimmed" p="xs">
            No texts yet. Cut with S and write the first with Enter, or put a vocabulary together for the dataset.
          </Text>
        )}
        {entries.map((text, index) => (
          <button
            key={text}
            type="button"
            className={classes.entry}
            disabled={editor.readOnly}
            onClick={(event) => (event.shiftKey ? labelSegment(labelling, text) : labelHere(labelling, text))}
            data-testid="vocabulary-entry"
          >
            {index < 9 ? <Kbd size="xs">{index + 1}</Kbd> : <span />}
            <LabelDot index={index} />
            <Text size="sm" span lineClamp={2}>
              {text}
            </Text>
          </button>
        ))}
      </div>
    </section>
  );
}
