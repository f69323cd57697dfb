/** The guideline of a vocabulary as a list that is edited in the page and saved as a whole. */

import type { Entry } from "./hooks";

export type Example = Pick<Entry["examples"][number], "episode_id" | "step" | "camera">;

/** What is saved of an entry. */
export interface EntryDraft {
  text: string;
  description: string;
  examples: Example[];
}

export const MOST_EXAMPLES = 12;

export function draftsOf(entries: readonly Entry[]): EntryDraft[] {
  return entries.map(({ text, description, examples }) => ({
    text,
    description,
    examples: examples.map(({ episode_id, step, camera }) => ({ episode_id, step, camera })),
  }));
}

/** Examples of episodes that are gone cannot be saved again: they are left out. */
export function withoutLost(entries: readonly Entry[]): EntryDraft[] {
  return draftsOf(entries.map((entry) => ({ ...entry, examples: entry.examples.filter(({ there }) => there) })));
}

export function moved<One>(list: readonly One[], index: number, by: 1 | -1): One[] {
  const one = list[index];
  const to = index + by;
  if (one === undefined || to < 0 || to >= list.length) return [...list];
  return list.toSpliced(index, 1).toSpliced(to, 0, one);
}

/** One example more, unless it is there already or there are as many as may be; null then. */
export function withExample(entry: EntryDraft, example: Example): EntryDraft | null {
  const same = ({ episode_id, step, camera }: Example) =>
    episode_id === example.episode_id && step === example.step && camera === example.camera;
  if (entry.examples.length >= MOST_EXAMPLES || entry.examples.some(same)) return null;
  return { ...entry, examples: [...entry.examples, example] };
}

/** Addresses of the images of an example: of its camera, or of all of them. */
export function imagesOf({ episode_id, step, camera }: Example, cameras: readonly string[]): string[] {
  const names = camera === null ? cameras : [camera];
  return names.map((name) => `/api/episodes/${episode_id}/frames/${encodeURIComponent(name)}/${step}`);
}
