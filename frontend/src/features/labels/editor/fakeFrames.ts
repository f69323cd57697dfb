/** For tests: packs, a server that answers when told to, and images that know whether they were closed. */

import { expect } from "vitest";

import { Frames, type Decoded, type PackRequest, type StepFrames } from "./frames";

export const CAMERAS = ["cam_high", "cam_left_wrist", "cam_right_wrist"];

/** A pack whose JPEGs say their step, camera and quality. */
export function packOf(start: number, count: number, quality = "full", stride = 1, cameras = CAMERAS): ArrayBuffer {
  const jpegs = Array.from({ length: count }, (_, row) =>
    cameras.map((name) => new TextEncoder().encode(`${quality} ${name} ${start + row * stride}`)),
  );
  const header = new TextEncoder().encode(
    JSON.stringify({ start, count, stride, cameras, sizes: jpegs.map((row) => row.map(({ length }) => length)) }),
  );
  const buffer = new ArrayBuffer(4 + header.length + jpegs.flat().reduce((sum, { length }) => sum + length, 0));
  new DataView(buffer).setUint32(0, header.length, true);
  const bytes = new Uint8Array(buffer);
  bytes.set(header, 4);
  let position = 4 + header.length;
  for (const jpeg of jpegs.flat()) {
    bytes.set(jpeg, position);
    position += jpeg.length;
  }
  return buffer;
}

export const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

export interface Fake extends Decoded {
  text: string;
  closed: boolean;
}

/** A server whose answers come when the test says so. */
class Server {
  readonly open: { request: PackRequest; signal: AbortSignal; answer: () => void; fail: (error: Error) => void }[] = [];
  readonly asked: PackRequest[] = [];

  readonly fetchPack = (request: PackRequest, signal: AbortSignal): Promise<ArrayBuffer> => {
    this.asked.push(request);
    return new Promise((resolve, reject) => {
      const entry = {
        request,
        signal,
        answer: () => {
          this.open.splice(this.open.indexOf(entry), 1);
          resolve(packOf(request.start, request.count, request.quality, request.stride));
        },
        fail: (error: Error) => {
          this.open.splice(this.open.indexOf(entry), 1);
          reject(error);
        },
      };
      this.open.push(entry);
      signal.addEventListener("abort", () => entry.fail(new DOMException("stale", "AbortError")));
    });
  };

  async answerAll(): Promise<void> {
    for (let round = 0; round < 50; round += 1) {
      for (const entry of [...this.open]) entry.answer();
      await settle();
    }
  }
}

export async function settle(): Promise<void> {
  for (let round = 0; round < 30; round += 1) await Promise.resolve();
}

/** Of the test that runs: what was asked, and what was decoded. */
export const fakes: { server: Server; made: Fake[] } = { server: new Server(), made: [] };

export function renewFakes(): void {
  fakes.server = new Server();
  fakes.made = [];
}

export function framesOf(
  steps: number,
  extra: Partial<ConstructorParameters<typeof Frames<Fake>>[0]> = {},
): Frames<Fake> {
  return new Frames<Fake>({
    steps,
    cameras: CAMERAS,
    fetchPack: fakes.server.fetchPack,
    decode: (jpeg) => {
      const fake = { text: textOf(jpeg), width: 10, height: 10, closed: false, close: () => undefined };
      const image: Fake = { ...fake, close: () => (image.closed = true) };
      fakes.made.push(image);
      return Promise.resolve(image);
    },
    ready: () => undefined,
    ...extra,
  });
}

export function expectExact(frames: StepFrames<Fake> | undefined, step: number): void {
  expect(frames?.step).toBe(step);
  expect(frames?.images.map((each) => each?.text)).toEqual(
    CAMERAS.map((name) => `${frames?.quality ?? ""} ${name} ${step}`),
  );
  expect(frames?.images.every((each) => each?.closed === false)).toBe(true);
}
