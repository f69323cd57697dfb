/** Undo and redo without limit, immutable. */

export interface History<T> {
  readonly past: readonly T[];
  readonly present: T;
  readonly future: readonly T[];
  /** what the newest change belongs to: changes of one drag or one field are undone together */
  readonly group: string | null;
}

export function begin<T>(present: T): History<T> {
  return { past: [], present, future: [], group: null };
}

/** A change. The same object again is none. Changes in a row with the same `group` count as one. */
export function push<T>(history: History<T>, present: T, group: string | null = null): History<T> {
  if (Object.is(present, history.present)) return history;
  if (group !== null && group === history.group) return { ...history, present, future: [] };
  return { past: [...history.past, history.present], present, future: [], group };
}

/** The next change starts a group of its own: the pointer was released, the field left. */
export function close<T>(history: History<T>): History<T> {
  return history.group === null ? history : { ...history, group: null };
}

export function undo<T>(history: History<T>): History<T> {
  const present = history.past.at(-1);
  if (history.past.length === 0) return history;
  return {
    past: history.past.slice(0, -1),
    present: present as T,
    future: [history.present, ...history.future],
    group: null,
  };
}

export function redo<T>(history: History<T>): History<T> {
  const [present, ...future] = history.future;
  if (history.future.length === 0) return history;
  return { past: [...history.past, history.present], present: present as T, future, group: null };
}
