import { beforeEach, describe, expect, it, vi } from "vitest";

import { Frames, type PackRequest, type Decoded, type StepFrames } from "./frames";
import { Budgeted, parsePack } from "./packs";
import { Player } from "./player";

const CAMERAS = ["cam_high", "cam_left_wrist", "cam_right_wrist"];

/** A pack whose JPEGs say their step, camera and quality. */
function packOf(start: number, count: number, quality = "full", stride = 1, cameras = CAMERAS): ArrayBuffer {
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

const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

describe("parsePack", () => {
  it("finds every JPEG", () => {
    const pack = parsePack(packOf(50, 7));
    expect([pack.start, pack.count, pack.cameras]).toEqual([50, 7, CAMERAS]);
    for (let step = 50; step < 57; step += 1)
      CAMERAS.forEach((name, camera) => expect(textOf(pack.jpeg(step, camera))).toBe(`full ${name} ${step}`));
    expect(() => pack.jpeg(49, 0)).toThrow(RangeError);
    expect(() => pack.jpeg(57, 0)).toThrow(RangeError);
    expect(() => pack.jpeg(50, 3)).toThrow(RangeError);
  });

  it("holds every n-th step and no other", () => {
    const pack = parsePack(packOf(100, 5, "full", 4));
    expect(textOf(pack.jpeg(116, 2))).toBe("full cam_right_wrist 116");
    for (const step of [96, 101, 102, 120]) expect(() => pack.jpeg(step, 0)).toThrow(RangeError);
  });

  it("refuses what is cut short", () => {
    const buffer = packOf(0, 3);
    for (const length of [0, 3, 20, buffer.byteLength - 1])
      expect(() => parsePack(buffer.slice(0, length))).toThrow(Error);
  });
});

describe("Budgeted", () => {
  it("drops what was not used for longest, never what is kept", () => {
    const dropped: string[] = [];
    const cache = new Budgeted<string>(30, (value) => dropped.push(value));
    for (const key of ["a", "b", "c"]) cache.set(key, key, 10);
    cache.get("a");
    cache.set("d", "d", 10);
    expect(dropped).toEqual(["b"]);
    cache.set("e", "e", 25, "c");
    expect(dropped).toEqual(["b", "a", "d"]);
    expect([cache.has("c"), cache.bytes]).toEqual([true, 35]);
    cache.clear();
    expect([cache.bytes, cache.size, dropped.length]).toEqual([0, 0, 5]);
  });
});

interface Fake extends Decoded {
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

async function settle(): Promise<void> {
  for (let round = 0; round < 30; round += 1) await Promise.resolve();
}

let server: Server;
let made: Fake[];

function framesOf(steps: number, extra: Partial<ConstructorParameters<typeof Frames<Fake>>[0]> = {}): Frames<Fake> {
  return new Frames<Fake>({
    steps,
    cameras: CAMERAS,
    fetchPack: server.fetchPack,
    decode: (jpeg) => {
      const fake = { text: textOf(jpeg), width: 10, height: 10, closed: false, close: () => undefined };
      const image: Fake = { ...fake, close: () => (image.closed = true) };
      made.push(image);
      return Promise.resolve(image);
    },
    ready: () => undefined,
    ...extra,
  });
}

function expectExact(frames: StepFrames<Fake> | undefined, step: number): void {
  expect(frames?.step).toBe(step);
  expect(frames?.images.map((each) => each?.text)).toEqual(
    CAMERAS.map((name) => `${frames?.quality ?? ""} ${name} ${step}`),
  );
  expect(frames?.images.every((each) => each?.closed === false)).toBe(true);
}

beforeEach(() => {
  server = new Server();
  made = [];
});

describe("Frames", () => {
  it("fetches a cold step alone and the pack around it afterwards", async () => {
    const frames = framesOf(400);
    frames.seek({ step: 123, quality: "full" });
    expect(server.asked).toEqual([{ start: 123, count: 1, stride: 1, quality: "full" }]);
    server.open[0]!.answer();
    await settle();
    expectExact(frames.best(123), 123);
    expect(server.asked.slice(1)).toContainEqual({ start: 100, count: 50, stride: 1, quality: "full" });
    await server.answerAll();
    expectExact(frames.best(124), 124);
    expectExact(frames.best(122), 122);
    // and what lies around it
    const starts = server.asked.slice(1).map(({ start }) => start);
    expect(starts.sort((a, b) => a - b)).toEqual([50, 100, 150]);
  });

  it("shows the right step in every camera at any seek, the ends and a short last pack included", async () => {
    for (const steps of [1, 49, 50, 51, 100, 10_000]) {
      const frames = framesOf(steps);
      for (const step of [0, steps - 1, Math.floor(steps / 2), Math.floor(steps / 3)]) {
        frames.seek({ step, quality: "full" });
        await server.answerAll();
        expectExact(frames.best(step), step);
      }
      expect(server.asked.every(({ start, count }) => start >= 0 && start + count <= steps)).toBe(true);
      frames.dispose();
      server.asked.length = 0;
    }
  });

  it("cancels what a later seek makes useless", async () => {
    const frames = framesOf(1000);
    for (const step of [10, 300, 600, 900]) frames.seek({ step, quality: "proxy", scrubbing: true });
    await settle();
    expect(server.open.map(({ request }) => request.start)).toEqual([900]);
    await server.answerAll();
    expectExact(frames.best(900), 900);
    expect(frames.best(10)).toBeUndefined();
    expect(server.asked.every(({ count }) => count === 1)).toBe(true);
  });

  it("fetches ahead of playback, at most two packs at once", async () => {
    const frames = framesOf(1000);
    frames.seek({ step: 0, quality: "full" });
    await server.answerAll();
    frames.seek({ step: 0, quality: "full", rate: 100, stride: 2 });
    expect(server.open.length).toBeLessThanOrEqual(2);
    await server.answerAll();
    const ahead = server.asked.filter(({ stride }) => stride === 2);
    expect(ahead.map(({ start, count }) => [start, count])).toEqual([
      [0, 50],
      [100, 50],
      [200, 50],
      [300, 50],
    ]);
    for (const step of [2, 4, 6, 20]) expectExact(frames.best(step), step);
    expect(frames.best(11)).toBeUndefined();
  });

  it("replaces proxies by full frames when it stands", async () => {
    const frames = framesOf(200);
    frames.seek({ step: 60, quality: "proxy", scrubbing: true });
    await server.answerAll();
    expect(frames.best(60)?.quality).toBe("proxy");
    frames.seek({ step: 60, quality: "full" });
    await server.answerAll();
    expect(frames.best(60)?.quality).toBe("full");
    expectExact(frames.best(60), 60);
  });

  it("fetches no proxies of what is there at full size", async () => {
    const frames = framesOf(200);
    frames.seek({ step: 60, quality: "full" });
    await server.answerAll();
    server.asked.length = 0;
    frames.seek({ step: 70, quality: "proxy", rate: 50 });
    await server.answerAll();
    expectExact(frames.best(74), 74);
    expect(frames.best(74)?.quality).toBe("full");
    expect(server.asked.every(({ start, quality }) => start >= 150 && quality === "proxy")).toBe(true);
  });

  it("decodes what a repeated move will show next", async () => {
    const frames = framesOf(1000);
    frames.seek({ step: 500, quality: "full", heading: -10 });
    await server.answerAll();
    for (const step of [490, 480, 470, 499, 501, 510]) expectExact(frames.best(step), step);
    expect(frames.best(520)).toBeUndefined();
  });

  it("keeps to its budget and closes what it drops, never what is shown", async () => {
    const frames = framesOf(500, { imageBudget: 20 * 3 * 400 });
    for (let step = 0; step < 200; step += 1) {
      frames.seek({ step, quality: "full" });
      await server.answerAll();
      expectExact(frames.best(step), step);
    }
    expect(made.filter(({ closed }) => !closed).length).toBeLessThanOrEqual(21 * 3);
    frames.dispose();
    expect(made.every(({ closed }) => closed)).toBe(true);
  });

  it("lets others run while frames are decoded", async () => {
    let decoding = 0;
    const frames = framesOf(200, {
      decode: async (jpeg) => {
        decoding += 1;
        await new Promise((resolve) => setTimeout(resolve, 1)); // not in this turn, as in a browser
        return { text: textOf(jpeg), width: 1, height: 1, closed: false, close: () => undefined };
      },
    });
    frames.seek({ step: 60, quality: "full" });
    for (let round = 0; round < 20; round += 1) {
      for (const entry of [...server.open]) entry.answer();
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    for (const step of [58, 59, 60, 61, 62]) expectExact(frames.best(step), step);
    expect(decoding).toBe(5 * CAMERAS.length);
  });

  it("tries again after a failure and says so", async () => {
    vi.useFakeTimers();
    const said: unknown[] = [];
    const frames = framesOf(100, { failed: (error) => said.push(error) });
    frames.seek({ step: 5, quality: "full" });
    server.open[0]!.fail(new Error("away"));
    await settle();
    expect(server.open).toEqual([]);
    await vi.advanceTimersByTimeAsync(1100);
    await server.answerAll();
    expectExact(frames.best(5), 5);
    expect(said.map((each) => (each instanceof Error ? each.message : each))).toEqual(["away", null]);
    vi.useRealTimers();
  });
});

describe("Player", () => {
  /** Runs animation frames by hand, 60 a second. */
  class Clock {
    now = 0;
    private due: ((now: number) => void)[] = [];
    readonly schedule = (tick: (now: number) => void): number => this.due.push(tick);
    async run(frames: number): Promise<void> {
      for (let count = 0; count < frames; count += 1) {
        this.now += 1000 / 60;
        const due = this.due;
        this.due = [];
        for (const tick of due) tick(this.now);
        await settle();
      }
    }
  }

  function playerOf(steps: number, fps: number | null = 50, auto = true) {
    const clock = new Clock();
    const drawn: StepFrames<Fake>[] = [];
    const source = framesOf(steps, {
      ready: () => player.wake(),
      ...(auto && {
        fetchPack: ({ start, count, quality, stride }) => Promise.resolve(packOf(start, count, quality, stride)),
      }),
    });
    const player: Player<Fake> = new Player<Fake>({
      steps,
      fps,
      source,
      proxies: true,
      draw: (shown) => {
        expectExact(shown, player.state.step);
        drawn.push(shown);
      },
      schedule: clock.schedule,
      cancel: () => undefined,
    });
    player.start();
    return { player, clock, drawn };
  }

  it("plays in real time and stops at the last step", async () => {
    const { player, clock, drawn } = playerOf(120);
    await clock.run(10);
    player.play();
    await clock.run(61);
    expect(player.state.step).toBeGreaterThan(45);
    expect(player.state.step).toBeLessThanOrEqual(50);
    await clock.run(200);
    expect([player.state.step, player.state.shown, player.state.playing]).toEqual([119, 119, false]);
    const steps = drawn.map(({ step }) => step);
    expect(steps).toEqual([...new Set(steps)].sort((a, b) => a - b));
    player.play();
    expect(player.state.step).toBe(0);
  });

  it("waits for late frames instead of showing others", async () => {
    const { player, clock, drawn } = playerOf(400, 50, false);
    await server.answerAll();
    await clock.run(2);
    server.open.length = 0;
    player.seek(290);
    player.play();
    await clock.run(60);
    expect([player.state.step, player.state.shown]).toEqual([290, 0]);
    expect(drawn.at(-1)?.step).toBe(0);
    await server.answerAll();
    await clock.run(10);
    expect(player.state.shown).toBeGreaterThanOrEqual(290);
  });

  it("loops a segment", async () => {
    const { player, clock, drawn } = playerOf(400);
    await clock.run(5);
    player.setLoop({ start: 100, end: 120 });
    player.play();
    await clock.run(180);
    const steps = drawn.map(({ step }) => step).filter((step) => step !== 0);
    expect(Math.min(...steps)).toBe(100);
    expect(Math.max(...steps)).toBeLessThan(120);
    expect(player.state.playing).toBe(true);
  });

  it("plays four times as fast with no more frames than a display shows, from any step", async () => {
    const { player, clock, drawn } = playerOf(1000);
    await clock.run(5);
    player.seek(31);
    await clock.run(5);
    player.setSpeed(4);
    player.play();
    await clock.run(60);
    const steps = drawn.map(({ step }) => step).filter((step) => step > 31);
    expect(steps.every((step) => step % 4 === 0)).toBe(true);
    expect(player.state.step).toBeGreaterThan(210);
    expect(drawn.every(({ quality }) => quality === "full")).toBe(true);
  });

  it("goes on with proxies where full frames come too late, until it is paused", async () => {
    const { player, clock, drawn } = playerOf(400, 50, false);
    await server.answerAll();
    await clock.run(2);
    player.seek(100);
    player.play();
    await clock.run(40);
    const wanted = server.asked.filter(({ quality }) => quality === "proxy");
    expect(wanted.length).toBeGreaterThan(0);
    for (const entry of server.open.filter(({ request }) => request.quality === "proxy")) entry.answer();
    await settle();
    await clock.run(3);
    expect(drawn.at(-1)?.quality).toBe("proxy");
    player.pause();
    await server.answerAll();
    await clock.run(3);
    expect(drawn.at(-1)?.quality).toBe("full");
  });

  it("plays proxies where frames are shown small, and stands with full ones", async () => {
    const { player, clock, drawn } = playerOf(400);
    await clock.run(5);
    player.setSmall(true);
    expect(drawn.at(-1)?.quality).toBe("full");
    player.play();
    await clock.run(150);
    expect(drawn.at(-1)?.quality).toBe("proxy");
    player.pause();
    await clock.run(5);
    expect(drawn.at(-1)).toMatchObject({ quality: "full", step: player.state.step });
  });

  it("shows proxies while a key is held, full frames a moment later", async () => {
    vi.useFakeTimers();
    const { player, clock, drawn } = playerOf(4000);
    await clock.run(5);
    player.move(50);
    await clock.run(3);
    expect(drawn.at(-1)).toMatchObject({ quality: "full", step: 50 });
    for (let count = 0; count < 5; count += 1) player.move(50, true);
    await clock.run(3);
    expect(drawn.at(-1)).toMatchObject({ quality: "proxy", step: 300 });
    await vi.advanceTimersByTimeAsync(200);
    await clock.run(3);
    expect(drawn.at(-1)).toMatchObject({ quality: "full", step: 300 });
    vi.useRealTimers();
  });

  it("uses proxies while it is dragged, full frames when it stands", async () => {
    const { player, clock, drawn } = playerOf(400);
    await clock.run(5);
    player.seek(222, true);
    await clock.run(5);
    expect(drawn.at(-1)).toMatchObject({ quality: "proxy", step: 222 });
    player.seek(222);
    await clock.run(5);
    expect(drawn.at(-1)).toMatchObject({ quality: "full", step: 222 });
  });

  it("stays within the episode", () => {
    const { player } = playerOf(10);
    player.seek(99);
    expect(player.state.step).toBe(9);
    player.move(-50);
    expect(player.state.step).toBe(0);
    player.shiftSpeed(-1);
    expect(player.state.speed).toBe(0.5);
    for (let count = 0; count < 9; count += 1) player.shiftSpeed(1);
    expect(player.state.speed).toBe(4);
  });
});
