import { useState } from "react";

import { parse } from "./fieldText";
import { choose, reset, withStage, type Draft, type Field, type Stage, type TrainForm } from "./form";

/** What the form holds: the choices, and texts in number fields that are no number (yet), by path. */
interface Held {
  draft: Draft;
  invalid: Record<string, string>;
}

function stored(key: string): Held | null {
  try {
    const held = JSON.parse(sessionStorage.getItem(key) ?? "null") as Held | null;
    return held !== null && typeof held.draft === "object" && typeof held.draft.own === "object" ? held : null;
  } catch {
    return null; // of an older page; the form starts anew
  }
}

function without(texts: Record<string, string>, path: string): Record<string, string> {
  return Object.fromEntries(Object.entries(texts).filter(([key]) => key !== path));
}

/** The choices of the form, kept over a reload of the page in this tab until `done` or `startOver`. */
export function useDraft(form: TrainForm, initial: Draft, key: string) {
  const [held, setHeld] = useState<Held>(() => stored(key) ?? { draft: initial, invalid: {} });
  const set = (next: Held) => {
    setHeld(next);
    sessionStorage.setItem(key, JSON.stringify(next));
  };
  const { draft, invalid } = held;
  return {
    draft,
    invalid,
    change: (part: Partial<Draft>) => set({ ...held, draft: { ...draft, ...part } }),
    setStage: (stage: Stage) => set({ draft: withStage(form, draft, stage), invalid: {} }),
    setPreset: (preset: string | null) => set({ draft: { ...draft, preset }, invalid: {} }),
    choose: (field: Field, value: unknown) =>
      set({ draft: choose(form, draft, field, value), invalid: without(invalid, field.path) }),
    /** text typed into a field: taken as its value if it is one */
    type: (field: Field, text: string) => {
      const parsed = parse(field, text);
      if ("error" in parsed) set({ ...held, invalid: { ...invalid, [field.path]: text } });
      else set({ draft: choose(form, draft, field, parsed.value), invalid: without(invalid, field.path) });
    },
    reset: (path?: string) =>
      set({ draft: reset(draft, path), invalid: path === undefined ? {} : without(invalid, path) }),
    startOver: () => set({ draft: initial, invalid: {} }),
    done: () => sessionStorage.removeItem(key),
  };
}

export type DraftForm = ReturnType<typeof useDraft>;
