/** What people edit of one episode: substeps, instruction, outcome; with undo, autosave and publishing. */

import type { Schema } from "@/api/client";

import { Autosave, type AutosaveOptions, type SaveState, type Stored } from "./autosave";
import { begin, close, push, redo, undo, type History } from "@/features/labels/core/history";
import { fromSegments, toSegments, type Segment, type Timeline } from "@/features/labels/core/timeline";

/** What people say about an episode as a whole. */
export interface Facts {
  readonly instruction: string;
  readonly success: boolean | null;
  /** where it went wrong, if it did */
  readonly failure_step: number | null;
  /** other wordings of the instruction */
  readonly paraphrases: readonly string[];
  readonly quality: Schema<"Quality"> | null;
  readonly tags: readonly string[];
}

export interface Content extends Facts {
  readonly timeline: Timeline;
}

/** The content as the API takes and gives it. */
export interface Draft extends Facts {
  segments: Segment[];
}

export interface EditorState {
  readonly content: Content;
  readonly canUndo: boolean;
  readonly canRedo: boolean;
  /** the inner boundary that keys act on; null: the one nearest the playhead */
  readonly selected: number | null;
  readonly save: SaveState;
  /** the text that was given last, for "repeat" */
  readonly lastLabel: string | null;
}

export interface EditorOptions {
  steps: number;
  stored: Stored<Draft>;
  readOnly: boolean;
  save: AutosaveOptions<Draft>["save"];
  outcome: AutosaveOptions<Draft>["outcome"];
  storage?: AutosaveOptions<Draft>["storage"];
  key: string;
}

export function contentOf(steps: number, draft: Draft): Content {
  return {
    timeline: fromSegments(steps, draft.segments),
    ...factsOf(draft),
  };
}

export function draftOf(content: Content): Draft {
  return {
    segments: toSegments(content.timeline),
    ...factsOf(content),
  };
}

export function factsOf({ instruction, success, failure_step, paraphrases, quality, tags }: Facts): Facts {
  return { instruction, success, failure_step, paraphrases, quality, tags };
}

/** Only what failed has a step where it did. */
export function withOutcome(content: Content, success: boolean | null): Content {
  return { ...content, success, failure_step: success === false ? content.failure_step : null };
}

/** The same for people: who made a label does not count. */
export function sameDraft(a: Draft, b: Draft): boolean {
  const plain = (draft: Draft) =>
    JSON.stringify([draft.segments.map(({ start, end, text }) => [start, end, text]), factsOf(draft)]);
  return plain(a) === plain(b);
}

export class Editor {
  state: EditorState;
  readonly autosave: Autosave<Draft>;
  /** unsaved edits of an earlier visit were taken up again */
  restored = false;
  private history: History<Content>;
  private locked: boolean;
  private readonly listeners = new Set<() => void>();

  constructor(private readonly options: EditorOptions) {
    const { steps, stored } = options;
    this.locked = options.readOnly;
    this.history = begin(contentOf(steps, stored.document));
    this.autosave = new Autosave<Draft>({
      edit: stored.edit,
      save: options.save,
      outcome: options.outcome,
      same: sameDraft,
      changed: () => this.set({}),
      storage: options.storage,
      key: options.key,
    });
    this.state = {
      content: this.history.present,
      canUndo: false,
      canRedo: false,
      selected: null,
      save: this.autosave.state,
      lastLabel: null,
    };
    if (!options.readOnly) this.takeUp(stored);
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly snapshot = (): EditorState => this.state;

  get readOnly(): boolean {
    return this.locked;
  }

  /** Nothing can be edited from now on, or everything again. What is not saved yet stays kept. */
  lock(locked: boolean): void {
    if (locked === this.locked) return;
    this.locked = locked;
    this.set({});
  }

  get timeline(): Timeline {
    return this.state.content.timeline;
  }

  /** A change of the substeps. `group`: changes in a row of one group are undone together. */
  edit(
    operation: (timeline: Timeline) => Timeline,
    { group = null, selected = null }: { group?: string | null; selected?: number | null } = {},
  ): void {
    this.change((content) => {
      const timeline = operation(content.timeline);
      return timeline === content.timeline ? content : { ...content, timeline };
    }, group);
    this.set({ selected });
  }

  change(operation: (content: Content) => Content, group: string | null = null): void {
    if (this.readOnly) return;
    this.move(push(this.history, operation(this.history.present), group));
  }

  /** The pointer was released: the next drag is undone on its own. */
  endGroup(): void {
    this.history = close(this.history);
  }

  select(selected: number | null): void {
    this.set({ selected });
  }

  remember(label: string): void {
    this.set({ lastLabel: label });
  }

  undo(): void {
    if (!this.readOnly) this.move(undo(this.history), null);
  }

  redo(): void {
    if (!this.readOnly) this.move(redo(this.history), null);
  }

  /** Somebody else saved, and nothing of ours waits: show theirs. */
  adopt(stored: Stored<Draft>): void {
    if (stored.edit <= this.autosave.edit || this.autosave.unsaved) return;
    this.autosave.edit = stored.edit;
    const content = contentOf(this.options.steps, stored.document);
    // a step of the history like any other: nothing that was on the screen is out of reach
    this.history = push(this.history, content);
    this.set({ content, selected: null });
  }

  /** The draft was published under this edit number. */
  published(edit: number): void {
    this.autosave.edit = Math.max(edit, this.autosave.edit);
  }

  takeTheirs(): void {
    const theirs = this.autosave.takeTheirs();
    if (!theirs) return;
    this.history = push(this.history, contentOf(this.options.steps, theirs));
    this.set({ content: this.history.present, selected: null });
  }

  keepMine(): void {
    void this.autosave.keepMine(draftOf(this.state.content));
  }

  /** What was made of both sides of a conflict is saved on top of theirs. */
  resolve(content: Content): void {
    this.history = push(this.history, content);
    this.set({ content, selected: null });
    void this.autosave.keepMine(draftOf(content));
  }

  /** Edits that an earlier visit could not save: on top of what is stored, or a conflict if that moved on. */
  private takeUp(stored: Stored<Draft>): void {
    const found = this.autosave.kept();
    if (!found) return;
    // what an older version of the page did not know of is as it is stored
    const kept = { ...found, document: { ...stored.document, ...found.document } };
    let content: Content;
    try {
      content = contentOf(this.options.steps, kept.document);
    } catch {
      this.autosave.forget(); // of another version of the page
      return;
    }
    if (sameDraft(kept.document, stored.document)) {
      this.autosave.forget();
      return;
    }
    this.restored = true;
    if (kept.edit === stored.edit) this.move(push(this.history, content));
    else {
      this.history = push(this.history, content);
      this.autosave.conflictWith(stored, kept.document);
      this.set({ content });
    }
  }

  private move(history: History<Content>, selected = this.state.selected): void {
    if (history.present === this.history.present) return;
    this.history = history;
    this.set({ content: history.present, selected });
    this.autosave.change(draftOf(history.present));
  }

  private set(change: Partial<EditorState>): void {
    this.state = {
      ...this.state,
      ...change,
      canUndo: this.history.past.length > 0,
      canRedo: this.history.future.length > 0,
      save: this.autosave.state,
    };
    for (const listener of this.listeners) listener();
  }
}
