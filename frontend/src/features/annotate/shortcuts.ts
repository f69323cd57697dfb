/** What the annotator can do, as actions: keys, buttons and the help page come from here. */

import type { Action } from "./actions";
import type { Editor } from "./editor";
import type { Player } from "./player";
import {
  cut,
  cutAndLabel,
  jump,
  labelAt,
  merge,
  nearestBoundary,
  nudge,
  removeBoundary,
  segmentAt,
  segmentOf,
} from "./timeline";

export interface AnnotatorParts {
  editor: Editor;
  player: Pick<Player, "state" | "seek" | "move" | "toggle" | "pause" | "shiftSpeed" | "setLoop">;
  /** texts by digit: the vocabulary, then what this episode uses besides */
  entries: () => readonly string[];
  /** open the text of a segment for editing */
  editText: (segment: number) => void;
  openNeighbour: (direction: 1 | -1) => void;
  publishAndNext: () => void;
  zoom: (factor: number | null) => void;
  help: () => void;
}

/** Digit 1 .. 9: cut at the playhead and label what ends there. */
export function labelHere({ editor, player }: Pick<AnnotatorParts, "editor" | "player">, text: string): void {
  const { step } = player.state;
  editor.edit((timeline) => cutAndLabel(timeline, step, text));
  editor.remember(text);
}

/** Label the segment under the playhead, without a cut. */
export function labelSegment({ editor, player }: Pick<AnnotatorParts, "editor" | "player">, text: string): void {
  const { step } = player.state;
  editor.edit((timeline) => labelAt(timeline, segmentAt(timeline, step), text));
  editor.remember(text);
}

/** The boundary that keys act on: the selected one, else the nearest to the playhead. */
function boundaryHere({ editor, player }: AnnotatorParts): number | null {
  return editor.state.selected ?? nearestBoundary(editor.timeline, player.state.step);
}

function jumpTo(parts: AnnotatorParts, direction: 1 | -1): void {
  const { editor, player } = parts;
  const step = jump(editor.timeline, player.state.step, direction);
  player.pause();
  player.seek(step);
  const index = editor.timeline.boundaries.indexOf(step);
  editor.select(index > 0 && index < editor.timeline.labels.length ? index : null);
}

function nudgeHere(parts: AnnotatorParts, by: 1 | -1): void {
  const { editor, player } = parts;
  const index = boundaryHere(parts);
  if (index === null) return;
  player.pause();
  editor.edit((timeline) => nudge(timeline, index, by), { selected: index });
  player.seek(editor.timeline.boundaries[index] ?? player.state.step);
}

function removeHere(parts: AnnotatorParts): void {
  const { editor, player } = parts;
  const index = editor.state.selected ?? segmentAt(editor.timeline, player.state.step);
  editor.edit((timeline) => removeBoundary(timeline, index));
}

function toggleLoop({ editor, player }: AnnotatorParts): void {
  if (player.state.loop) {
    player.setLoop(null);
    return;
  }
  const { start, end } = segmentOf(editor.timeline, segmentAt(editor.timeline, player.state.step));
  player.setLoop({ start, end });
}

export function annotatorActions(parts: AnnotatorParts): Action[] {
  const { editor, player, entries } = parts;
  const may = () => !editor.readOnly;
  const steps = (id: string, label: string, keys: string[], by: number): Action => ({
    id,
    group: "Steps",
    label,
    keys,
    repeats: true,
    perform: () => player.move(by),
  });
  const digits = [1, 2, 3, 4, 5, 6, 7, 8, 9].flatMap((digit): Action[] => [
    {
      id: `label-${digit}`,
      group: "Substeps",
      label: "Cut here and label what ends here",
      keys: [String(digit)],
      keyText: "1 ... 9",
      hidden: digit > 1,
      enabled: () => may() && entries().length >= digit,
      perform: () => labelHere(parts, entries()[digit - 1] ?? ""),
    },
    {
      id: `relabel-${digit}`,
      group: "Substeps",
      label: "Label the substep under the playhead, without a cut",
      keys: [`Shift+${digit}`],
      keyText: "Shift+1 ... 9",
      hidden: digit > 1,
      enabled: () => may() && entries().length >= digit,
      perform: () => labelSegment(parts, entries()[digit - 1] ?? ""),
    },
  ]);
  return [
    { id: "play", group: "Playback", label: "Play or pause", keys: ["Space"], perform: () => player.toggle() },
    { id: "slower", group: "Playback", label: "Slower", keys: ["-"], perform: () => player.shiftSpeed(-1) },
    { id: "faster", group: "Playback", label: "Faster", keys: ["=", "+"], perform: () => player.shiftSpeed(1) },
    {
      id: "loop",
      group: "Playback",
      label: "Repeat the substep under the playhead, or stop that",
      keys: ["L"],
      perform: () => toggleLoop(parts),
    },
    steps("back", "One step back", ["ArrowLeft"], -1),
    steps("forward", "One step forward", ["ArrowRight"], 1),
    steps("back-10", "Ten steps back", ["Shift+ArrowLeft"], -10),
    steps("forward-10", "Ten steps forward", ["Shift+ArrowRight"], 10),
    steps("back-50", "Fifty steps back", ["Ctrl+ArrowLeft"], -50),
    steps("forward-50", "Fifty steps forward", ["Ctrl+ArrowRight"], 50),
    steps("first", "First step", ["Home"], -Infinity),
    steps("last", "Last step", ["End"], Infinity),
    ...digits.filter(({ id }) => id.startsWith("label")),
    ...digits.filter(({ id }) => id.startsWith("relabel")),
    {
      id: "repeat",
      group: "Substeps",
      label: "Cut here and give the last text again",
      keys: ["R"],
      enabled: () => may() && editor.state.lastLabel !== null,
      perform: () => labelHere(parts, editor.state.lastLabel ?? ""),
    },
    {
      id: "cut",
      group: "Substeps",
      label: "Cut only",
      keys: ["S"],
      enabled: may,
      perform: () => {
        const { step } = player.state;
        editor.edit((timeline) => cut(timeline, step));
      },
    },
    {
      id: "merge",
      group: "Substeps",
      label: "Merge with the next substep",
      keys: ["M"],
      enabled: may,
      perform: () => {
        const { step } = player.state;
        editor.edit((timeline) => merge(timeline, segmentAt(timeline, step)));
      },
    },
    {
      id: "edit-text",
      group: "Substeps",
      label: "Write the text of the substep under the playhead",
      keys: ["Enter"],
      enabled: may,
      perform: () => parts.editText(segmentAt(editor.timeline, player.state.step)),
    },
    {
      id: "previous-boundary",
      group: "Boundaries",
      label: "Previous boundary",
      keys: ["["],
      repeats: true,
      perform: () => jumpTo(parts, -1),
    },
    {
      id: "next-boundary",
      group: "Boundaries",
      label: "Next boundary",
      keys: ["]"],
      repeats: true,
      perform: () => jumpTo(parts, 1),
    },
    {
      id: "nudge-back",
      group: "Boundaries",
      label: "Move the boundary one step back",
      keys: [","],
      repeats: true,
      enabled: may,
      perform: () => nudgeHere(parts, -1),
    },
    {
      id: "nudge-forward",
      group: "Boundaries",
      label: "Move the boundary one step forward",
      keys: ["."],
      repeats: true,
      enabled: may,
      perform: () => nudgeHere(parts, 1),
    },
    {
      id: "remove",
      group: "Boundaries",
      label: "Remove the selected boundary, or the one before the playhead",
      keys: ["Backspace", "Delete"],
      enabled: may,
      perform: () => removeHere(parts),
    },
    {
      id: "undo",
      group: "Document",
      label: "Undo",
      keys: ["Ctrl+Z"],
      repeats: true,
      enabled: () => may() && editor.state.canUndo,
      perform: () => editor.undo(),
    },
    {
      id: "redo",
      group: "Document",
      label: "Redo",
      keys: ["Ctrl+Shift+Z", "Ctrl+Y"],
      repeats: true,
      enabled: () => may() && editor.state.canRedo,
      perform: () => editor.redo(),
    },
    {
      id: "publish-next",
      group: "Document",
      label: "Publish and open the next episode",
      keys: ["Ctrl+Enter"],
      enabled: may,
      perform: () => parts.publishAndNext(),
    },
    {
      id: "next-episode",
      group: "Document",
      label: "Next episode",
      keys: ["N"],
      perform: () => parts.openNeighbour(1),
    },
    {
      id: "previous-episode",
      group: "Document",
      label: "Previous episode",
      keys: ["P"],
      perform: () => parts.openNeighbour(-1),
    },
    {
      id: "zoom-in",
      group: "View",
      label: "Zoom in around the playhead",
      keys: ["ArrowUp"],
      repeats: true,
      perform: () => parts.zoom(0.6),
    },
    {
      id: "zoom-out",
      group: "View",
      label: "Zoom out",
      keys: ["ArrowDown"],
      repeats: true,
      perform: () => parts.zoom(1 / 0.6),
    },
    { id: "zoom-all", group: "View", label: "Show everything", keys: ["0"], perform: () => parts.zoom(null) },
    { id: "help", group: "View", label: "Show these keys", keys: ["?"], perform: () => parts.help() },
  ];
}

/** Do it if it can be done now. Actions without `enabled` always can. */
export function performAction(actions: readonly Action[], id: string): void {
  const action = actions.find((each) => each.id === id);
  if (action && (action.enabled?.() ?? true)) action.perform();
}
