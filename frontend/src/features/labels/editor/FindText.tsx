import { Kbd, Modal, Text, TextInput } from "@mantine/core";
import { useId, useState, type KeyboardEvent } from "react";

import classes from "./annotate.module.css";
import { LabelDot } from "@/features/labels/core/LabelDot";
import { search } from "./search";
import { tidy } from "@/features/labels/core/timeline";

interface Props {
  opened: boolean;
  entries: readonly string[];
  onClose: () => void;
  /** `cut`: cut here and label what ends; otherwise the substep under the playhead */
  onChoose: (text: string, cut: boolean) => void;
}

/** Texts by typing, for vocabularies of more than nine entries. */
export function FindText(props: Props) {
  return (
    <Modal opened={props.opened} onClose={props.onClose} title="Label with" size="md" yOffset="12vh" centered={false}>
      <Finder {...props} />
    </Modal>
  );
}

function Finder({ entries, onClose, onChoose }: Props) {
  const [typed, setTyped] = useState("");
  const [active, setActive] = useState(0);
  const list = useId();
  const found = search(entries, typed);
  const fresh = tidy(typed);
  const options = found.map((index) => ({ index, text: entries[index] ?? "" }));
  if (fresh !== "" && !entries.includes(fresh)) options.push({ index: -1, text: fresh });
  const at = Math.min(active, options.length - 1);

  const choose = (place: number, cut: boolean) => {
    const option = options[place];
    if (!option) return;
    onClose();
    onChoose(option.text, cut);
  };
  const key = (event: KeyboardEvent) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by !== undefined) setActive((at + by + options.length) % Math.max(1, options.length));
    else if (event.key === "Enter") choose(at, !event.shiftKey);
    else return;
    event.preventDefault();
  };
  return (
    <>
      <TextInput
        data-autofocus
        value={typed}
        onChange={(event) => {
          setTyped(event.currentTarget.value);
          setActive(0);
        }}
        onKeyDown={key}
        maxLength={400}
        placeholder="Part of a text, or its number"
        role="combobox"
        aria-label="Part of a text, or its number"
        aria-expanded
        aria-controls={list}
        aria-activedescendant={at >= 0 ? `${list}-${at}` : undefined}
        data-testid="find-text"
      />
      <div id={list} role="listbox" aria-label="Texts" className={classes.found}>
        {options.map(({ index, text }, place) => (
          // eslint-disable-next-line jsx-a11y/click-events-have-key-events -- the field above has the focus and the keys
          <div
            key={`${index} ${text}`}
            id={`${list}-${place}`}
            role="option"
            tabIndex={-1}
            aria-selected={place === at}
            className={classes.option}
            ref={(element) => {
              if (place === at) element?.scrollIntoView({ block: "nearest" });
            }}
            onClick={(event) => choose(place, !event.shiftKey)}
            data-testid="find-option"
          >
            <span className={classes.optionNumber}>{index >= 0 ? index + 1 : "new"}</span>
            <LabelDot index={index} />
            <Text size="sm" span>
              {text}
            </Text>
          </div>
        ))}
      </div>
      <Text size="xs" c="dimmed" mt="xs">
        <Kbd size="xs">Enter</Kbd> cuts here and labels what ends, <Kbd size="xs">Shift+Enter</Kbd> labels the substep
        under the playhead.
      </Text>
    </>
  );
}
