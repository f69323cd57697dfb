import { createContext, useContext, useSyncExternalStore } from "react";

import type { Schema } from "@/api/client";

import type { Action } from "./actions";
import type { About } from "./api";
import type { Candidate } from "./candidates";
import type { Editor, EditorState } from "./editor";
import type { LabellingParts } from "./labelling";
import type { CameraView } from "./cameraView";
import type { Playback } from "./playback";
import type { PlayerState } from "./player";
import type { Preferences } from "./preferences";

/** What all parts of the annotator work with. */
export interface Annotator {
  episode: Schema<"EpisodeDetail">;
  /** which labels of it */
  about: About;
  /** why nothing can be edited now, for people to read; null: it can */
  locked: string | null;
  editor: Editor;
  playback: Playback;
  actions: readonly Action[];
  /** for buttons that label as keys do */
  labelling: LabellingParts;
  /** texts by digit */
  entries: readonly string[];
  fps: number;
  preferences: Preferences;
  cameraView: CameraView;
  setCameraView: (change: (view: CameraView) => CameraView) => void;
  /** where a substep may end */
  candidates: readonly Candidate[];
}

export const AnnotatorContext = createContext<Annotator | null>(null);

export function useAnnotator(): Annotator {
  const found = useContext(AnnotatorContext);
  if (!found) throw new Error("outside of the annotator");
  return found;
}

export function useEditorState(): EditorState {
  const { editor } = useAnnotator();
  return useSyncExternalStore(editor.subscribe, editor.snapshot);
}

/** One part of the playhead's state; the component renders only when that part changes. */
export function usePlayer<T>(select: (state: PlayerState) => T): T {
  const { player } = useAnnotator().playback;
  return useSyncExternalStore(player.subscribe, () => select(player.state));
}

/** Place of a text in the list of digits, which gives its colour; -1 for others. */
export function entryIndex(entries: readonly string[], text: string): number {
  return text === "" ? -1 : entries.indexOf(text);
}
