/** What the annotator can do, as actions: keys, buttons and the help page come from here. */

import type { Action } from "./actions";
import {
  acceptSure,
  boundaryToPlayhead,
  cutHere,
  decide,
  jumpTo,
  labelHere,
  labelSegment,
  nudgeHere,
  removeHere,
  toCandidate,
  toggleLoop,
  type LabellingParts,
} from "./labelling";
import { countProposed } from "./proposals";
import { viewActions, type ViewParts } from "./viewShortcuts";
import { merge, segmentAt } from "@/features/labels/core/timeline";

export interface AnnotatorParts extends LabellingParts {
  /** texts by digit: the vocabulary, then what this episode uses besides */
  entries: () => readonly string[];
  /** open the text of a segment for editing */
  editText: (segment: number) => void;
  /** find a text by typing */
  findText: () => void;
  copyNearest: () => void;
  proposeTemplate: () => void;
  askModel: () => void;
  /** proposals from this confidence on are accepted together */
  acceptAbove: () => number;
  openNeighbour: (direction: 1 | -1) => void;
  /** along the list that the page was opened from; null: from none */
  openStop: ((direction: 1 | -1) => void) | null;
  publishAndNext: () => void;
  /** the labels are another person's, to be approved */
  reviewing: boolean;
  /** on the substep under the playhead; null: this person may not */
  comment: (() => void) | null;
  /** what is said of the episode as a whole */
  details: () => void;
  view: ViewParts;
  help: () => void;
}

export function annotatorActions(parts: AnnotatorParts): Action[] {
  const { editor, player, entries, view } = parts;
  const may = () => !editor.readOnly;
  const proposals = () => may() && countProposed(editor.timeline) > 0;
  const steps = (id: string, label: string, keys: string[], by: number): Action => ({
    id,
    group: "Steps",
    label,
    keys,
    repeats: true,
    perform: (held) => player.move(by, held),
  });
  const digits = [1, 2, 3, 4, 5, 6, 7, 8, 9].flatMap((digit): Action[] => [
    {
      id: `label-${digit}`,
      group: "Substeps",
      label: digit > 1 ? `Cut here and label what ends here: text ${digit}` : "Cut here and label what ends here",
      keys: [String(digit)],
      keyText: "1 ... 9",
      hidden: digit > 1,
      enabled: () => may() && entries().length >= digit,
      perform: () => labelHere(parts, entries()[digit - 1] ?? ""),
    },
    {
      id: `relabel-${digit}`,
      group: "Substeps",
      label: `Label the substep under the playhead up to its end, without a cut${digit > 1 ? `: text ${digit}` : ""}`,
      keys: [`Shift+${digit}`],
      keyText: "Shift+1 ... 9",
      hidden: digit > 1,
      enabled: () => may() && entries().length >= digit,
      perform: () => labelSegment(parts, entries()[digit - 1] ?? ""),
    },
  ]);
  return [
    { id: "play", group: "Playback", label: "Play or pause", keys: ["Space"], perform: () => player.toggle() },
    {
      id: "slower",
      group: "Playback",
      label: "Slower",
      keys: ["-", "Shift+ArrowDown"],
      perform: () => player.shiftSpeed(-1),
    },
    {
      id: "faster",
      group: "Playback",
      label: "Faster",
      keys: ["=", "+", "Shift+ArrowUp"],
      perform: () => player.shiftSpeed(1),
    },
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
    { id: "go-to", group: "Steps", label: "Type a step to go to", keys: ["G"], perform: view.goToStep },
    ...digits.filter(({ id }) => id.startsWith("label")),
    ...digits.filter(({ id }) => id.startsWith("relabel")),
    {
      id: "repeat",
      group: "Substeps",
      label: "Cut here and label with the last text again",
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
      perform: () => cutHere(parts),
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
      id: "find-text",
      group: "Substeps",
      label: "Find a text by typing, then cut here and label with it",
      keys: ["/", "T"],
      enabled: may,
      perform: parts.findText,
    },
    {
      id: "accept",
      group: "Proposals",
      label: "Accept the proposal under the playhead and go to the next",
      keys: ["A"],
      enabled: proposals,
      perform: () => decide(parts, "accept"),
    },
    {
      id: "reject",
      group: "Proposals",
      label: "Reject the proposal under the playhead: its steps stay without a text",
      keys: ["X"],
      enabled: proposals,
      perform: () => decide(parts, "reject"),
    },
    {
      id: "accept-all",
      group: "Proposals",
      label: "Accept all with enough confidence",
      keys: ["Shift+A"],
      enabled: proposals,
      perform: () => acceptSure(parts, parts.acceptAbove()),
    },
    {
      id: "copy",
      group: "Proposals",
      label: "Copy the substeps of the nearest labelled episode to where nothing is written",
      keys: ["C"],
      enabled: may,
      perform: parts.copyNearest,
    },
    {
      id: "template",
      group: "Proposals",
      label: "Propose the usual sequence at the candidates, where nothing is written",
      keys: ["Shift+C"],
      enabled: may,
      perform: parts.proposeTemplate,
    },
    {
      id: "ask-model",
      group: "Proposals",
      label: "Ask the vision-language model, where nothing is written",
      keys: ["Shift+V"],
      enabled: may,
      perform: parts.askModel,
    },
    {
      id: "previous-boundary",
      group: "Boundaries",
      label: "Previous boundary",
      keys: ["[", "PageUp"],
      repeats: true,
      perform: () => jumpTo(parts, -1),
    },
    {
      id: "next-boundary",
      group: "Boundaries",
      label: "Next boundary",
      keys: ["]", "PageDown"],
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
      id: "boundary-here",
      group: "Boundaries",
      label: "Bring the selected or nearest boundary to the playhead",
      keys: ["B"],
      enabled: may,
      perform: () => boundaryToPlayhead(parts),
    },
    {
      id: "next-candidate",
      group: "Boundaries",
      label: "Next candidate",
      keys: ["J"],
      repeats: true,
      perform: () => toCandidate(parts, 1),
    },
    {
      id: "previous-candidate",
      group: "Boundaries",
      label: "Previous candidate",
      keys: ["Shift+J"],
      repeats: true,
      perform: () => toCandidate(parts, -1),
    },
    {
      id: "snap",
      group: "Boundaries",
      label: "Snap boundaries to candidates nearby, or stop that",
      keys: ["Shift+S"],
      perform: view.toggleSnap,
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
      id: "comment",
      group: "Labels",
      label: "Comment on the substep under the playhead",
      keys: ["Q"],
      enabled: () => parts.comment !== null,
      perform: () => parts.comment?.(),
    },
    {
      id: "publish-next",
      group: "Document",
      label: "Submit (or publish, or approve) and open the next episode, of your list if one is open",
      keys: ["Ctrl+Enter"],
      enabled: () => may() || parts.reviewing,
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
      id: "details",
      group: "Document",
      label: "The episode as a whole: wordings, outcome, quality, tags",
      keys: ["I"],
      perform: parts.details,
    },
    {
      id: "next-stop",
      group: "Document",
      label: "Next episode of your work, or next hit of a search",
      keys: ["Shift+N"],
      enabled: () => parts.openStop !== null,
      perform: () => parts.openStop?.(1),
    },
    {
      id: "previous-stop",
      group: "Document",
      label: "Previous episode of your work, or previous hit of a search",
      keys: ["Shift+P"],
      enabled: () => parts.openStop !== null,
      perform: () => parts.openStop?.(-1),
    },
    ...viewActions(view),
    { id: "help", group: "View", label: "Show these keys, and change them", keys: ["?", "H"], perform: parts.help },
  ];
}

/** Do it if it can be done now. Actions without `enabled` always can. */
export function performAction(actions: readonly Action[], id: string): void {
  const action = actions.find((each) => each.id === id);
  if (action && (action.enabled?.() ?? true)) action.perform();
}
