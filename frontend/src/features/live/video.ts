/**
 * Frames of a robot's cameras: from the bytes of the video socket to canvases. No React: benchmarks use it as it is.
 *
 * Each camera has one slot. A frame that comes while another one waits takes its place; nothing is queued. A frame
 * is acknowledged when it has been drawn (or replaced), so that the host never sends more than this page can show.
 */

export interface Frame {
  number: number;
  camera: string;
  /** ms since the scene looked like this when the host sent it */
  hostAge: number;
  /** performance.now() when it arrived, ms */
  received: number;
  jpeg: Uint8Array<ArrayBuffer>;
}

/** As dexvla.live.messages.FRAME_HEADER: number, age in ms, length of the name; little endian. */
const HEADER_BYTES = 4 + 4 + 2;

/** Throws RangeError if the bytes are no frame. */
export function parseFrame(data: ArrayBuffer, received: number): Frame {
  const view = new DataView(data);
  const length = view.getUint16(8, true);
  return {
    number: view.getUint32(0, true),
    hostAge: view.getFloat32(4, true),
    camera: new TextDecoder().decode(new Uint8Array(data, HEADER_BYTES, length)),
    received,
    jpeg: new Uint8Array(data, HEADER_BYTES + length),
  };
}

/** A frame older than this is marked: what is shown may no longer be so. */
export const STALE_MS = 500;
/** Rates are over this time. */
const WINDOW_MS = 2_000;

export interface CameraStats {
  /** of the frame that is shown, ms; null before the first one */
  age: number | null;
  fps: number;
  /** frames that the camera made and this page did not show, since it was opened */
  drops: number;
  frames: number;
  stale: boolean;
}

/** Counts what a camera shows. Pure. */
export class CameraMeter {
  private shown: Frame | null = null;
  private drawn: number[] = [];
  private frames = 0;
  private drops = 0;

  /** Call it for each frame that is drawn. */
  draw(frame: Frame, now: number): void {
    const gap = this.shown ? frame.number - this.shown.number - 1 : 0;
    if (gap > 0) this.drops += gap; // a number that falls is a host that began anew
    this.shown = frame;
    this.frames += 1;
    this.drawn.push(now);
    this.forget(now);
  }

  stats(now: number): CameraStats {
    this.forget(now);
    const age = this.shown ? this.shown.hostAge + (now - this.shown.received) : null;
    const first = this.drawn[0];
    const last = this.drawn.at(-1);
    const spread = first !== undefined && last !== undefined ? last - first : 0;
    const fps = spread > 0 ? (1000 * (this.drawn.length - 1)) / Math.max(spread, now - (first ?? now) - 100) : 0;
    return { age, fps, drops: this.drops, frames: this.frames, stale: age === null || age > STALE_MS };
  }

  private forget(now: number): void {
    while ((this.drawn[0] ?? now) < now - WINDOW_MS) this.drawn.shift();
  }
}

/** What this module needs of a browser. */
export interface Surroundings {
  decode: (jpeg: Uint8Array<ArrayBuffer>) => Promise<ImageBitmap>;
  draw: (canvas: HTMLCanvasElement, image: ImageBitmap) => void;
  now: () => number;
  /** call `paint` before the next repaint of the page */
  nextPaint: (paint: () => void) => void;
}

/** Called with each frame right after it was drawn. */
export type Drawn = (frame: Frame, canvas: HTMLCanvasElement, now: number) => void;

export const browserSurroundings: Surroundings = {
  decode: (jpeg) => createImageBitmap(new Blob([jpeg], { type: "image/jpeg" })),
  draw: (canvas, image) => {
    if (canvas.width !== image.width) canvas.width = image.width;
    if (canvas.height !== image.height) canvas.height = image.height;
    canvas.getContext("2d", { alpha: false })?.drawImage(image, 0, 0);
  },
  now: () => performance.now(),
  nextPaint: (paint) => void requestAnimationFrame(paint),
};

class Slot {
  readonly meter = new CameraMeter();
  canvas: HTMLCanvasElement | null = null;
  waiting: Frame | null = null;
  decoding = false;
  ready: { frame: Frame; image: ImageBitmap } | null = null;
}

export class VideoFeed {
  private readonly slots = new Map<string, Slot>();
  private painting = false;
  /** grows when everything in flight is given up; what was begun before is not acknowledged any more */
  private generation = 0;

  constructor(
    private readonly acknowledge: (camera: string, number: number) => void,
    private readonly around: Surroundings,
    private readonly drawn: Drawn = () => undefined,
  ) {}

  /** Where a camera's frames go; null: nowhere for now. */
  attach(camera: string, canvas: HTMLCanvasElement | null): void {
    this.slot(camera).canvas = canvas;
  }

  stats(camera: string): CameraStats {
    return this.slot(camera).meter.stats(this.around.now());
  }

  /** A binary message of the video socket. */
  receive(data: ArrayBuffer): void {
    const frame = parseFrame(data, this.around.now());
    const slot = this.slot(frame.camera);
    if (slot.waiting) this.acknowledge(frame.camera, slot.waiting.number);
    slot.waiting = frame;
    void this.decode(slot);
  }

  /** The socket is another one: credits begin anew, and so do frames. */
  reset(): void {
    this.generation += 1;
    for (const slot of this.slots.values()) {
      slot.waiting = null;
      slot.ready?.image.close();
      slot.ready = null;
    }
  }

  private slot(camera: string): Slot {
    let slot = this.slots.get(camera);
    if (!slot) this.slots.set(camera, (slot = new Slot()));
    return slot;
  }

  private async decode(slot: Slot): Promise<void> {
    if (slot.decoding) return;
    slot.decoding = true;
    for (let frame = slot.waiting; frame !== null; frame = slot.waiting) {
      const { generation } = this;
      slot.waiting = null;
      const image = await this.around.decode(frame.jpeg).catch(() => null);
      if (generation !== this.generation) image?.close();
      else if (image === null)
        this.acknowledge(frame.camera, frame.number); // torn: the next one may be whole
      else this.show(slot, frame, image);
    }
    slot.decoding = false;
  }

  private show(slot: Slot, frame: Frame, image: ImageBitmap): void {
    if (slot.ready) {
      this.acknowledge(slot.ready.frame.camera, slot.ready.frame.number);
      slot.ready.image.close();
    }
    slot.ready = { frame, image };
    if (this.painting) return;
    this.painting = true;
    this.around.nextPaint(() => this.paint());
  }

  private paint(): void {
    this.painting = false;
    for (const slot of this.slots.values()) {
      if (!slot.ready) continue;
      const { frame, image } = slot.ready;
      slot.ready = null;
      const now = this.around.now();
      if (slot.canvas) {
        this.around.draw(slot.canvas, image);
        slot.meter.draw(frame, now);
        this.drawn(frame, slot.canvas, now);
      }
      image.close();
      this.acknowledge(frame.camera, frame.number);
    }
  }
}
