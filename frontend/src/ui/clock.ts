import { useSyncExternalStore } from "react";

/** One clock for the whole page: relative times move together, once in `STEP` milliseconds. */
const STEP = 5_000;
let current = Date.now();
const listeners = new Set<() => void>();
let timer: ReturnType<typeof setInterval> | undefined;

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  current = Date.now();
  timer ??= setInterval(() => {
    current = Date.now();
    for (const each of listeners) each();
  }, STEP);
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) {
      clearInterval(timer);
      timer = undefined;
    }
  };
}

/** Milliseconds since 1970, renewed every five seconds. */
export function useNow(): number {
  return useSyncExternalStore(subscribe, () => current);
}
