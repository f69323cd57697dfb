/**
 * The frames of an episode by step: packs are fetched ahead of the playhead, decoded a little ahead, and given out
 * only when all cameras of a step are there, so that no frame of another step is ever among them.
 */

import { Budgeted, parsePack, type Pack } from "./packs";

/** proxy: fewer rows, for scrubbing and fast playback. */
export type Quality = "full" | "proxy";

/** A decoded image: an ImageBitmap, or what stands for one in tests. */
export interface Decoded {
  readonly width: number;
  readonly height: number;
  close(): void;
}

export interface StepFrames<P extends Decoded = ImageBitmap> {
  readonly step: number;
  readonly quality: Quality;
  /** in the order of the episode's cameras; null: the frame is broken in the file */
  readonly images: readonly (P | null)[];
}

export interface Want {
  step: number;
  quality: Quality;
  /** steps that playback leaves out between two shown ones, plus one; 1 when it stands */
  stride?: number;
  /** steps a second, negative backwards, 0 when it stands */
  rate?: number;
  /** where the last move by keys went, steps; its like is expected next. 0: anywhere */
  heading?: number;
  /** the pointer drags or a key is held: only the steps themselves are fetched, no packs around them */
  scrubbing?: boolean;
  /** playback returns from the end of this range to its start */
  loop?: { start: number; end: number } | null;
}

export interface PackRequest {
  start: number;
  count: number;
  /** every so many-th step */
  stride: number;
  quality: Quality;
}

/** Steps between two shown ones, for fast playback. Powers of two, so that what one speed fetched serves others. */
const STRIDES = [1, 2, 4, 8, 16, 32, 64] as const;

/** The smallest stride that is at least `least`, or the largest there is. */
export function strideFor(least: number): number {
  return STRIDES.find((each) => each >= least) ?? 64;
}

export interface FrameOptions<P extends Decoded> {
  steps: number;
  cameras: readonly string[];
  fetchPack: (request: PackRequest, signal: AbortSignal) => Promise<ArrayBuffer>;
  decode: (jpeg: Uint8Array<ArrayBuffer>) => Promise<P>;
  /** something that was wanted is there */
  ready: () => void;
  /** why frames are missing; null: they come again */
  failed?: (error: unknown) => void;
  packSteps?: number;
  packBudget?: number;
  imageBudget?: number;
}

const MIB = 2 ** 20;
/** How far ahead packs are fetched while playing. */
const AHEAD_S = 3;
const PACKS_AT_ONCE = 2;
const DECODES_AT_ONCE = 6;
const DECODE_AHEAD = 10;
const RETRY_MS = 1000;

export class Frames<P extends Decoded = ImageBitmap> {
  private readonly packSteps: number;
  private readonly packs: Budgeted<Pack>;
  private readonly decoded: Budgeted<StepFrames<P>>;
  private readonly fetching = new Map<string, AbortController>();
  private readonly decoding = new Set<string>();
  private want: Want = { step: 0, quality: "full" };
  private failures = 0;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private disposed = false;

  constructor(private readonly options: FrameOptions<P>) {
    this.packSteps = options.packSteps ?? 50;
    this.packs = new Budgeted(options.packBudget ?? 256 * MIB);
    this.decoded = new Budgeted(options.imageBudget ?? 256 * MIB, ({ images }) => {
      for (const image of images) image?.close();
    });
  }

  /** The best frames of a step that are there now: all cameras of exactly this step. */
  best(step: number): StepFrames<P> | undefined {
    return this.decoded.get(`full:${step}`) ?? this.decoded.get(`proxy:${step}`);
  }

  /** Say what is shown and where it goes; fetches that this makes useless are cancelled. */
  seek(want: Want): void {
    this.disposed = false;
    this.want = want;
    this.schedule();
  }

  /** Let go of everything; a later seek begins anew. */
  dispose(): void {
    this.disposed = true;
    clearTimeout(this.retry);
    this.retry = undefined;
    for (const controller of this.fetching.values()) controller.abort();
    this.fetching.clear();
    this.packs.clear();
    this.decoded.clear();
  }

  private schedule(): void {
    if (this.disposed) return;
    const { step, quality, scrubbing = false } = this.want;
    const target = this.isDecoded(step) || this.packOf(step) !== null;
    const packKeys = scrubbing ? [] : this.packsAhead();
    const singleKey = `${quality}:step:1:${step}`;
    const needed = new Set(target ? packKeys : [singleKey, ...packKeys]);
    for (const [key, controller] of this.fetching)
      if (!needed.has(key) && !this.holds(key, step)) {
        this.fetching.delete(key);
        controller.abort();
      }
    if (this.retry === undefined) {
      // the step itself comes first and alone; what lies around it when it is there, or at once while playing
      if (!target) this.fetchSteps(singleKey, { start: step, count: 1, stride: 1, quality });
      if (target || (this.want.rate ?? 0) !== 0) this.fetchPacks(packKeys, quality);
    }
    this.decodeAhead();
  }

  private fetchPacks(keys: readonly string[], quality: Quality): void {
    let free = PACKS_AT_ONCE - [...this.fetching.keys()].filter((key) => key.includes(":pack:")).length;
    for (const key of keys) {
      if (free <= 0) return;
      const { stride, start } = parsed(key);
      if (this.hasPack(start, stride) || this.fetching.has(key)) continue;
      const count = Math.min(this.packSteps, Math.ceil((this.options.steps - start) / stride));
      this.fetchSteps(key, { start, count, stride, quality });
      free -= 1;
    }
  }

  private fetchSteps(key: string, request: PackRequest): void {
    if (this.fetching.has(key)) return;
    const controller = new AbortController();
    this.fetching.set(key, controller);
    this.options
      .fetchPack(request, controller.signal)
      .then((buffer) => {
        const pack = parsePack(buffer);
        if (controller.signal.aborted || this.disposed) return;
        this.succeeded();
        if (key.includes(":pack:"))
          this.packs.set(key, pack, pack.bytes, this.packKey(this.want.step, request.quality, request.stride));
        else void this.decode(pack, request.start, request.quality).then(() => this.schedule());
      })
      .catch((error: unknown) => {
        if (controller.signal.aborted || this.disposed) return;
        this.failedFetch(error);
      })
      .finally(() => {
        if (this.fetching.get(key) === controller) this.fetching.delete(key);
        this.schedule();
      });
  }

  private succeeded(): void {
    if (this.failures > 0) this.options.failed?.(null);
    this.failures = 0;
  }

  private failedFetch(error: unknown): void {
    this.failures += 1;
    this.options.failed?.(error);
    this.retry ??= setTimeout(
      () => {
        this.retry = undefined;
        this.schedule();
      },
      Math.min(15_000, RETRY_MS * 2 ** (this.failures - 1)),
    );
  }

  private decodeAhead(): void {
    for (const step of this.stepsAhead()) {
      if (this.decoding.size >= DECODES_AT_ONCE) return;
      if (this.isDecoded(step)) continue;
      const found = this.packOf(step);
      if (found) void this.decode(found.pack, step, found.quality).then(() => this.schedule());
    }
  }

  /** Qualities that will do: what is wanted, and full frames always. */
  private get enough(): readonly Quality[] {
    return this.want.quality === "full" ? ["full"] : ["proxy", "full"];
  }

  /** There, or about to be. */
  private isDecoded(step: number): boolean {
    return this.enough.some((quality) => {
      const key = `${quality}:${step}`;
      return this.decoded.has(key) || this.decoding.has(key);
    });
  }

  private packOf(step: number): { pack: Pack; quality: Quality } | null {
    for (const quality of this.enough)
      for (const stride of STRIDES) {
        if (step % stride !== 0) break;
        const pack = this.packs.get(this.packKey(step, quality, stride));
        if (pack) return { pack, quality };
      }
    return null;
  }

  /** Whether a pack that begins at `start` is there, or one that holds all of its steps. */
  private hasPack(start: number, stride: number): boolean {
    return this.enough.some((quality) => this.packs.has(this.packKey(start, quality, stride)));
  }

  private async decode(pack: Pack, step: number, quality: Quality): Promise<void> {
    const key = `${quality}:${step}`;
    if (this.decoding.has(key) || this.decoded.has(key)) return;
    this.decoding.add(key);
    const images = await Promise.all(
      this.options.cameras.map(async (name) => {
        const camera = pack.cameras.indexOf(name);
        if (camera < 0) return null;
        return this.options.decode(pack.jpeg(step, camera)).catch(() => null);
      }),
    );
    this.decoding.delete(key);
    if (this.disposed) {
      for (const image of images) image?.close();
      return;
    }
    const bytes = images.reduce((sum, image) => sum + (image ? image.width * image.height * 4 : 0), 0);
    this.decoded.set(key, { step, quality, images }, bytes, `${this.want.quality}:${this.want.step}`);
    this.options.ready();
  }

  /** Steps to have decoded, most urgent first. */
  private stepsAhead(): number[] {
    const { step, stride = 1, rate = 0, heading = 0, loop } = this.want;
    const last = this.options.steps - 1;
    const steps = [step];
    if (rate === 0) {
      // a move like the last one is likely, then a single step either way
      const likely = heading === 0 ? [] : [heading, 2 * heading, 3 * heading];
      if (!this.want.scrubbing) steps.push(...[...likely, 1, -1, 2, -2, -heading].map((by) => step + by));
    } else
      for (let count = 1, next = step; count <= DECODE_AHEAD; count += 1) {
        // playback shows multiples of its stride, whatever step it began at
        next = Math.floor(next / stride) * stride + Math.sign(rate) * stride;
        if (loop && next >= loop.end) next = loop.start;
        steps.push(next);
      }
    return steps.filter((each) => each >= 0 && each <= last);
  }

  /** Packs to have, most urgent first: the one under the playhead and those it reaches soon. */
  private packsAhead(): string[] {
    const { step, quality, stride = 1, rate = 0, heading = 0, loop } = this.want;
    const half = (this.packSteps * stride) / 2;
    const reach = Math.max(half, Math.abs(rate) * AHEAD_S);
    const steps = [step];
    if (rate === 0) {
      // around the playhead, first where the last move went
      const side = heading < 0 ? -1 : 1;
      const far = Math.max(2 * half, Math.abs(heading));
      steps.push(step + side * half, step + side * far, step - side * half);
    } else for (let ahead = half; ahead <= reach; ahead += half) steps.push(step + Math.sign(rate) * ahead);
    if (loop && rate > 0 && step + reach > loop.end)
      steps.splice(1, Infinity, ...steps.slice(1).filter((each) => each < loop.end), loop.start);
    const inside = steps.map((each) => Math.round(each)).filter((each) => each >= 0 && each < this.options.steps);
    return [...new Set(inside.map((each) => this.packKey(each, quality, stride)))];
  }

  private packKey(step: number, quality: Quality, stride: number): string {
    const span = this.packSteps * stride;
    return `${quality}:pack:${stride}:${Math.floor(step / span) * span}`;
  }

  /** Whether what is being fetched holds the step: worth waiting for in any quality. */
  private holds(key: string, step: number): boolean {
    const { kind, stride, start } = parsed(key);
    return kind === "pack" && step % stride === 0 && start <= step && step < start + this.packSteps * stride;
  }
}

function parsed(key: string): { kind: string; stride: number; start: number } {
  const [, kind = "", stride, start] = key.split(":");
  return { kind, stride: Number(stride), start: Number(start) };
}
