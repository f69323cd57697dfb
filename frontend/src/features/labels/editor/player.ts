/** The playhead: which step is meant, which is drawn, and how it moves on. One step is one row of the episode. */

import { DEFAULT_FPS } from "@/features/labels/core/fps";

import { strideFor, type Decoded, type Quality, type StepFrames, type Want } from "./frames";

export const SPEEDS = [0.25, 0.5, 1, 2, 4] as const;
/** No display shows more steps a second: faster playback leaves some out, evenly. */
const DISPLAY_HZ = 60;
const LONGEST_TICK_S = 0.25;
/**
 * Playback that waited this long for full frames goes on with proxies until it is paused. No speed needs them by
 * itself: with its stride it decodes no more frames per second than the display shows.
 */
const PATIENCE_S = 0.4;
/** Moves by keys at least this far show proxies while the key is held. */
const FAR = 10;
const SETTLED_MS = 150;

export interface Range {
  start: number;
  end: number;
}

export interface PlayerState {
  /** where the playhead is */
  readonly step: number;
  /** whose frames are drawn; -1 before the first */
  readonly shown: number;
  readonly playing: boolean;
  readonly speed: number;
  readonly loop: Range | null;
  /** frames are late: playback waits */
  readonly waiting: boolean;
}

interface Source<P extends Decoded> {
  best(step: number): StepFrames<P> | undefined;
  seek(want: Want): void;
}

export interface PlayerOptions<P extends Decoded> {
  steps: number;
  fps: number | null;
  source: Source<P>;
  /** whether frames are large enough for proxies to help */
  proxies: boolean;
  draw: (frames: StepFrames<P>) => void;
  schedule?: (tick: (now: number) => void) => number;
  cancel?: (handle: number) => void;
}

export class Player<P extends Decoded = ImageBitmap> {
  state: PlayerState = { step: 0, shown: -1, playing: false, speed: 1, loop: null, waiting: false };
  private position = 0;
  private last: number | null = null;
  private frame: number | null = null;
  private scrubbing = false;
  private heading = 0;
  private waitedSince: number | null = null;
  /** this network or machine does not carry full frames at this speed */
  private hurried = false;
  /** proxies are as large as what is seen */
  private small = false;
  private settling: ReturnType<typeof setTimeout> | undefined;
  private drawn: { step: number; quality: Quality } | null = null;
  private readonly listeners = new Set<() => void>();

  constructor(private readonly options: PlayerOptions<P>) {}

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly snapshot = (): PlayerState => this.state;

  start(): void {
    this.drawn = null;
    this.ask();
    this.wake();
  }

  stop(): void {
    if (this.frame !== null) (this.options.cancel ?? cancelAnimationFrame)(this.frame);
    this.frame = null;
    clearTimeout(this.settling);
    this.set({ playing: false });
  }

  /** `scrubbing`: the pointer is still down, or a key. */
  seek(step: number, scrubbing = false): void {
    clearTimeout(this.settling);
    const wanted = Math.min(this.options.steps - 1, Math.max(0, Math.round(step)));
    this.scrubbing = scrubbing;
    this.position = wanted;
    this.last = null;
    this.waitedSince = null;
    this.set({ step: wanted, waiting: false });
    this.ask();
    this.wake();
  }

  /** By keys; `held`: the key repeats. */
  move(by: number, held = false): void {
    this.pause();
    const far = held && Math.abs(by) >= FAR;
    this.heading = Number.isFinite(by) ? by : 0;
    this.seek(this.state.step + by, far);
    if (far) this.settling = setTimeout(() => this.seek(this.state.step), SETTLED_MS);
  }

  toggle(): void {
    if (this.state.playing) this.pause();
    else this.play();
  }

  play(): void {
    const { loop, step } = this.state;
    const outside = loop ? step < loop.start || step >= loop.end - 1 : step >= this.options.steps - 1;
    if (outside) this.seek(loop?.start ?? 0);
    this.scrubbing = false;
    this.heading = 0;
    this.position = this.state.step;
    this.last = null;
    this.set({ playing: true });
    this.ask();
    this.wake();
  }

  pause(): void {
    if (!this.state.playing) return;
    this.hurried = false;
    this.waitedSince = null;
    this.set({ playing: false, waiting: false });
    this.position = this.state.step;
    this.ask();
    this.wake();
  }

  setSpeed(speed: number): void {
    this.hurried = false;
    this.set({ speed });
    this.ask();
  }

  /** One speed slower or faster. */
  shiftSpeed(by: 1 | -1): void {
    const index = SPEEDS.findIndex((each) => each >= this.state.speed);
    const next = SPEEDS[Math.min(SPEEDS.length - 1, Math.max(0, index + by))];
    if (next !== undefined) this.setSpeed(next);
  }

  /** The frames are shown so small that proxies lack nothing while they move. */
  setSmall(small: boolean): void {
    if (this.small === small) return;
    this.small = small;
    this.ask();
  }

  setLoop(loop: Range | null): void {
    this.set({ loop });
    this.ask();
  }

  /** Frames came, or the canvas was cleared. */
  readonly wake = (): void => {
    this.frame ??= (this.options.schedule ?? requestAnimationFrame)(this.tick);
  };

  redraw(): void {
    this.drawn = null;
    this.wake();
  }

  private get rate(): number {
    return this.state.playing ? (this.options.fps ?? DEFAULT_FPS) * this.state.speed : 0;
  }

  private get stride(): number {
    return strideFor(this.rate / DISPLAY_HZ - 0.01);
  }

  private get quality(): Quality {
    const moving = this.scrubbing || (this.state.playing && (this.small || this.hurried));
    return this.options.proxies && moving ? "proxy" : "full";
  }

  private ask(step = this.state.step): void {
    this.options.source.seek({
      step,
      quality: this.quality,
      rate: this.rate,
      stride: this.stride,
      heading: this.heading,
      scrubbing: this.scrubbing,
      loop: this.state.loop,
    });
  }

  private readonly tick = (now: number): void => {
    this.frame = null;
    if (this.state.playing) this.advance(now);
    this.paint();
    if (this.state.playing) this.wake();
  };

  private advance(now: number): void {
    const elapsed = this.last === null ? 0 : Math.min(LONGEST_TICK_S, (now - this.last) / 1000);
    this.last = now;
    const { loop, step } = this.state;
    const end = Math.min(loop?.end ?? this.options.steps, this.options.steps);
    let position = this.position + elapsed * this.rate;
    // multiples of the stride: those are what packs for this speed hold and what is decoded ahead
    let next = Math.max(step, Math.floor(position / this.stride) * this.stride);
    if (next >= end) {
      next = loop ? loop.start : end - 1;
      position = next;
    }
    if (next === step) {
      this.position = position;
      if (!loop && step >= end - 1) this.pause();
      return;
    }
    if (!this.options.source.best(next)) {
      this.waitedSince ??= now;
      if (now - this.waitedSince > 1000 * PATIENCE_S) this.hurried = true;
      this.set({ waiting: true });
      this.ask(next);
      return;
    }
    this.waitedSince = null;
    this.position = position;
    this.set({ step: next, waiting: false });
    this.ask();
  }

  private paint(): void {
    const { step } = this.state;
    const frames = this.options.source.best(step);
    if (!frames) return;
    const { drawn } = this;
    if (drawn?.step === step && (drawn.quality === frames.quality || drawn.quality === "full")) return;
    this.options.draw(frames);
    this.drawn = { step, quality: frames.quality };
    this.set({ shown: step });
  }

  private set(change: Partial<PlayerState>): void {
    const keys = Object.keys(change) as (keyof PlayerState)[];
    if (keys.every((key) => Object.is(this.state[key], change[key]))) return;
    this.state = { ...this.state, ...change };
    for (const listener of this.listeners) listener();
  }
}
