import { Autocomplete, Text, Tooltip } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";
import { useEffect, useRef, useState } from "react";

import classes from "./annotate.module.css";
import { entryIndex, useAnnotator, useEditorState, usePlayer } from "./context";
import { LabelDot } from "@/features/labels/core/LabelDot";
import { rangeText } from "./text";
import { labelAt, segmentAt, tidy, toSegments, type Problem, type Segment } from "@/features/labels/core/timeline";

interface Props {
  editing: number | null;
  setEditing: (segment: number | null) => void;
  problems: readonly Problem[];
}

/** All substeps in order: a click goes there, a second one or Enter writes the text. */
export function SegmentList({ editing, setEditing, problems }: Props) {
  const { editor, playback } = useAnnotator();
  const { timeline } = useEditorState().content;
  const current = usePlayer(({ step }) => segmentAt(timeline, step));
  const list = useRef<HTMLOListElement>(null);

  useEffect(() => {
    list.current?.children[current]?.scrollIntoView({ block: "nearest" });
  }, [current]);

  return (
    <ol ref={list} className={classes.rows} data-testid="segments">
      {toSegments(timeline).map((segment, index) => (
        <li
          key={index}
          className={classes.row}
          data-current={index === current || undefined}
          data-testid="segment-row"
          data-start={segment.start}
          data-end={segment.end}
        >
          <Row
            segment={segment}
            index={index}
            editing={editing === index}
            problems={problems.filter((each) => each.segment === index)}
            onOpen={() => {
              if (index === current && !editor.readOnly && !playback.player.state.playing) {
                setEditing(index);
                return;
              }
              playback.player.pause();
              playback.player.seek(segment.start);
            }}
            onDone={(text) => {
              setEditing(null);
              if (text === null) return;
              editor.edit((old) => labelAt(old, index, text));
              if (tidy(text) !== "") editor.remember(tidy(text));
            }}
          />
        </li>
      ))}
    </ol>
  );
}

interface RowProps {
  segment: Segment;
  index: number;
  editing: boolean;
  problems: readonly Problem[];
  onOpen: () => void;
  /** null: nothing changes */
  onDone: (text: string | null) => void;
}

function Row({ segment, index, editing, problems, onOpen, onDone }: RowProps) {
  const { entries, fps } = useAnnotator();
  const { start, end, text, provenance, source, confidence } = segment;
  const worst = problems.some(({ level }) => level === "error") ? "red" : "yellow";
  return (
    <>
      <LabelDot index={entryIndex(entries, text)} />
      {editing ? (
        <TextField text={text} onDone={onDone} />
      ) : (
        <button
          type="button"
          className={classes.rowButton}
          onClick={onOpen}
          data-testid="segment-open"
          aria-label={`Substep ${index + 1}: ${text || "no text yet"}`}
        >
          <Text size="sm" span c={text ? undefined : "dimmed"} fs={text ? undefined : "italic"} lineClamp={2}>
            {text || "no text yet"}
          </Text>
        </button>
      )}
      {problems.length > 0 ? (
        <Tooltip label={problems.map(({ message }) => message).join("; ")}>
          <IconAlertTriangle
            size={15}
            color={`var(--mantine-color-${worst}-6)`}
            aria-label={problems.map(({ message }) => message).join("; ")}
          />
        </Tooltip>
      ) : (
        <span />
      )}
      <span />
      <span className={classes.range}>
        {rangeText(start, end, fps)}
        {provenance === "proposed" && (
          <b data-testid="proposed">
            {" "}
            proposed{source ? ` (${source})` : ""}
            {typeof confidence === "number" && `, ${Math.round(100 * confidence)} %`}
          </b>
        )}
      </span>
    </>
  );
}

/** Enter takes the text, Escape the old one; leaving the field takes it too. */
function TextField({ text, onDone }: { text: string; onDone: (text: string | null) => void }) {
  const { entries } = useAnnotator();
  const [value, setValue] = useState(text);
  const done = useRef(false);
  const finish = (result: string | null) => {
    if (done.current) return;
    done.current = true;
    onDone(result);
  };
  return (
    <Autocomplete
      size="xs"
      value={value}
      onChange={setValue}
      data={[...new Set(entries)]}
      limit={9}
      maxLength={400}
      // the field is opened by a key or a click on this very row
      ref={(input: HTMLInputElement | null) => input?.focus()}
      onFocus={(event) => event.currentTarget.select()}
      onBlur={() => finish(value)}
      onOptionSubmit={(chosen) => finish(chosen)}
      onKeyDown={(event) => {
        if (event.key === "Escape") {
          event.stopPropagation();
          finish(null);
        }
        if (event.key === "Enter" && !event.ctrlKey) {
          // an option that the arrows chose submits itself
          const chosen = document.querySelector("[data-combobox-selected]");
          if (!chosen) finish(value);
        }
      }}
      aria-label="Text of the substep"
      data-testid="segment-text"
    />
  );
}
