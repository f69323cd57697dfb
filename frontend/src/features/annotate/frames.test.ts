import { beforeEach, describe, expect, it, vi } from "vitest";

import { Frames, type PackRequest, type Picture, type StepPictures } from "./frames";
import { Budgeted, parsePack } from "./packs";
import { Player } from "./player";

const CAMERAS = ["cam_high", "cam_left_wrist", "cam_right_wrist"];

/** A pack whose pictures say their step, camera and quality. */
function packOf(start: number, count: number, quality = "full", cameras = CAMERAS): ArrayBuffer {
  const pictures = Array.from({ length: count }, (_, row) =>
    cameras.map((name) => new TextEncoder().encode(`${quality} ${name} ${start + row}`)),
  );
  const header = new TextEncoder().encode(
    JSON.stringify({ start, count, cameras, sizes: pictures.map((row) => row.map(({ length }) => length)) }),
  );
  const buffer = new ArrayBuffer(4 + header.length + pictures.flat().reduce((sum, { length }) => sum + length, 0));
  new DataView(buffer).setUint32(0, header.length, true);
  const bytes = new Uint8Array(buffer);
  bytes.set(header, 4);
  let position = 4 + header.length;
  for (const picture of pictures.flat()) {
    bytes.set(picture, position);
    position += picture.length;
  }
  return buffer;
}

const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

describe("parsePack", () => {
  it("finds every picture", () => {
    const pack = parsePack(packOf(50, 7));
    expect([pack.start, pack.count, pack.cameras]).toEqual([50, 7, CAMERAS]);
    for (let step = 50; step < 57; step += 1)
      CAMERAS.forEach((name, camera) => expect(textOf(pack.picture(step, camera))).toBe(`full ${name} ${step}`));
    expect(() => pack.picture(49, 0)).toThrow(RangeError);
    expect(() => pack.picture(57, 0)).toThrow(RangeError);
    expect(() => pack.picture(50, 3)).toThrow(RangeError);
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

interface Fake extends Picture {
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
          resolve(packOf(request.start, request.count, request.quality));
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
      const picture: Fake = { ...fake, close: () => (picture.closed = true) };
      made.push(picture);
      return Promise.resolve(picture);
    },
    ready: () => undefined,
    ...extra,
  });
}

function expectExact(pictures: StepPictures<Fake> | undefined, step: number): void {
  expect(pictures?.step).toBe(step);
  expect(pictures?.pictures.map((each) => each?.text)).toEqual(
    CAMERAS.map((name) => `${pictures?.quality ?? ""} ${name} ${step}`),
  );
  expect(pictures?.pictures.every((each) => each?.closed === false)).toBe(true);
}

beforeEach(() => {
  server = new Server();
  made = [];
});

describe("Frames", () => {
  it("fetches a cold step alone and the pack around it afterwards", async () => {
    const frames = framesOf(400);
    frames.seek({ step: 123, quality: "full" });
    expect(server.asked).toEqual([{ start: 123, count: 1, quality: "full" }]);
    server.open[0]!.answer();
    await settle();
    expectExact(frames.best(123), 123);
    expect(server.asked.slice(1)).toContainEqual({ start: 100, count: 50, quality: "full" });
    await server.answerAll();
    expectExact(frames.best(124), 124);
    expectExact(frames.best(122), 122);
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
    const starts = server.asked.filter(({ count }) => count === 50).map(({ start }) => start);
    expect(starts).toEqual(expect.arrayContaining([0, 50, 100, 150, 200, 250, 300]));
    for (const step of [2, 4, 6, 20]) expectExact(frames.best(step), step);
    expect(frames.best(11)).toBeUndefined();
  });

  it("replaces proxies by full pictures when it stands", async () => {
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
    frames.seek({ step: 70, quality: "proxy", rate: 200, stride: 4 });
    await server.answerAll();
    expectExact(frames.best(74), 74);
    expect(frames.best(74)?.quality).toBe("full");
    expect(server.asked.every(({ start }) => start >= 100)).toBe(true);
  });

  it("keeps to its budget and closes what it drops, never what is shown", async () => {
    const frames = framesOf(500, { pictureBudget: 20 * 3 * 400 });
    for (let step = 0; step < 200; step += 1) {
      frames.seek({ step, quality: "full" });
      await server.answerAll();
      expectExact(frames.best(step), step);
    }
    expect(made.filter(({ closed }) => !closed).length).toBeLessThanOrEqual(21 * 3);
    frames.dispose();
    expect(made.every(({ closed }) => closed)).toBe(true);
  });

  it("lets others run while pictures are decoded", async () => {
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
    const drawn: StepPictures<Fake>[] = [];
    const source = framesOf(steps, {
      ready: () => player.wake(),
      ...(auto && { fetchPack: ({ start, count, quality }) => Promise.resolve(packOf(start, count, quality)) }),
    });
    const player: Player<Fake> = new Player<Fake>({
      steps,
      fps,
      source,
      proxies: true,
      draw: (pictures) => {
        expectExact(pictures, player.state.step);
        drawn.push(pictures);
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

  it("waits for late pictures instead of showing others", async () => {
    const { player, clock, drawn } = playerOf(400, 50, false);
    await server.answerAll();
    await clock.run(2);
    server.open.length = 0;
    player.seek(90);
    player.play();
    await clock.run(60);
    expect([player.state.step, player.state.shown]).toEqual([90, 0]);
    expect(drawn.at(-1)?.step).toBe(0);
    await server.answerAll();
    await clock.run(10);
    expect(player.state.shown).toBeGreaterThanOrEqual(90);
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

  it("uses proxies while it is fast or dragged, full pictures when it stands", async () => {
    const { player, clock, drawn } = playerOf(400);
    await clock.run(5);
    player.setSpeed(4);
    player.play();
    await clock.run(20);
    expect(drawn.at(-1)?.quality).toBe("proxy");
    player.pause();
    await clock.run(5);
    expect(drawn.at(-1)).toMatchObject({ quality: "full", step: player.state.step });
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
