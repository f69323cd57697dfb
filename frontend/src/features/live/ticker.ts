/** Calls `tick` every so many milliseconds, also while the page's own timers are clamped. */
export interface Ticker {
  /** 0 rests */
  every: (milliseconds: number) => void;
  end: () => void;
}

export type MakeTicker = (tick: () => void) => Ticker;

export const workerTicker: MakeTicker = (tick) => {
  const worker = new Worker(new URL("./ticker.worker.ts", import.meta.url), { type: "module" });
  worker.onmessage = () => tick();
  return {
    every: (milliseconds) => worker.postMessage(milliseconds),
    end: () => worker.terminate(),
  };
};
