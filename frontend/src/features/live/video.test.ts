// @vitest-environment happy-dom
import { expect, test } from "vitest";

import { CameraMeter, parseFrame, VideoFeed, type Surroundings } from "./video";

function frame(number: number, camera = "cam_high", age = 5, jpeg = [1, 2, 3]): ArrayBuffer {
  const name = new TextEncoder().encode(camera);
  const data = new ArrayBuffer(10 + name.length + jpeg.length);
  const view = new DataView(data);
  view.setUint32(0, number, true);
  view.setFloat32(4, age, true);
  view.setUint16(8, name.length, true);
  new Uint8Array(data, 10).set([...name, ...jpeg]);
  return data;
}

/** A browser whose decoding and repainting happen when the test says so. */
function stage() {
  const acks: string[] = [];
  const drawn: number[] = [];
  const closed: number[] = [];
  const decodes: (() => void)[] = [];
  let paints: (() => void)[] = [];
  let now = 1000;
  const around: Surroundings = {
    decode: ([number]) =>
      new Promise((done, fail) =>
        decodes.push(() => {
          if (number === 255) fail(new Error("torn"));
          else done({ width: 4, height: 3, close: () => closed.push(number ?? 0) });
        }),
      ),
    draw: () => undefined,
    now: () => now,
    nextPaint: (paint) => void paints.push(paint),
  };
  const feed = new VideoFeed(
    (camera, number) => acks.push(`${camera} ${number}`),
    around,
    ({ number }) => drawn.push(number),
  );
  return {
    feed,
    acks,
    drawn,
    closed,
    decodes,
    decoded: async () => {
      decodes.shift()?.();
      await new Promise((done) => setTimeout(done));
    },
    paint: () => {
      const due = paints;
      paints = [];
      for (const each of due) each();
    },
    wait: (milliseconds: number) => (now += milliseconds),
  };
}

const canvas = () => document.createElement("canvas");

test("a frame's bytes", () => {
  expect(parseFrame(frame(7, "Kamera ä", 12.5, [9, 8]), 100)).toEqual({
    number: 7,
    camera: "Kamera ä",
    hostAge: 12.5,
    received: 100,
    jpeg: new Uint8Array([9, 8]),
  });
  expect(() => parseFrame(new ArrayBuffer(4), 0)).toThrow(RangeError);
});

test("a frame is acknowledged when it was drawn, not before", async () => {
  const { feed, acks, drawn, decoded, paint, closed } = stage();
  feed.attach("cam_high", canvas());
  feed.receive(frame(1));
  await decoded();
  expect(acks).toEqual([]);
  paint();
  expect(drawn).toEqual([1]);
  expect(acks).toEqual(["cam_high 1"]);
  expect(closed).toEqual([1]);
});

test("one waits at most: a newer one takes its place, and each is acknowledged once", async () => {
  const { feed, acks, drawn, decodes, decoded, paint } = stage();
  feed.attach("cam_high", canvas());
  feed.receive(frame(1, "cam_high", 5, [1]));
  feed.receive(frame(2, "cam_high", 5, [2]));
  feed.receive(frame(3, "cam_high", 5, [3]));
  expect(decodes).toHaveLength(1);
  expect(acks).toEqual(["cam_high 2"]);
  await decoded();
  await decoded(); // decoded before the page was painted again: only the newer one is drawn
  paint();
  expect(drawn).toEqual([3]);
  expect(acks).toEqual(["cam_high 2", "cam_high 1", "cam_high 3"]);
  expect(feed.stats("cam_high").frames).toBe(1);
});

test("cameras do not wait for each other, and a torn frame costs only itself", async () => {
  const { feed, acks, drawn, decoded, paint } = stage();
  feed.attach("cam_high", canvas());
  feed.attach("cam_left_wrist", canvas());
  feed.receive(frame(1, "cam_high", 5, [255]));
  feed.receive(frame(1, "cam_left_wrist"));
  await decoded();
  await decoded();
  paint();
  expect(drawn).toEqual([1]);
  expect(acks).toEqual(["cam_high 1", "cam_left_wrist 1"]);
});

test("frames of an older socket are not acknowledged on a new one", async () => {
  const { feed, acks, drawn, decoded, paint, closed } = stage();
  feed.attach("cam_high", canvas());
  feed.receive(frame(1));
  feed.reset();
  await decoded();
  paint();
  expect([acks, drawn, closed]).toEqual([[], [], [1]]);
});

test("age grows while nothing comes, and becomes stale after half a second", async () => {
  const { feed, decoded, paint, wait } = stage();
  feed.attach("cam_high", canvas());
  expect(feed.stats("cam_high")).toMatchObject({ age: null, stale: true, frames: 0 });
  feed.receive(frame(1, "cam_high", 40));
  wait(20);
  await decoded();
  paint();
  expect(feed.stats("cam_high")).toMatchObject({ age: 60, stale: false });
  wait(440);
  expect(feed.stats("cam_high")).toMatchObject({ age: 500, stale: false });
  wait(1);
  expect(feed.stats("cam_high").stale).toBe(true);
});

test("rate and drops are counted by number, and a host that begins anew drops nothing", () => {
  const meter = new CameraMeter();
  const at = (number: number, received: number) => ({
    ...parseFrame(frame(number), received),
  });
  for (let index = 0; index < 40; index += 1) meter.draw(at(index * 2, index * 50), index * 50);
  const stats = meter.stats(39 * 50);
  expect(stats.drops).toBe(39);
  expect(stats.fps).toBeCloseTo(20, 0);
  meter.draw(at(0, 2000), 2000);
  expect(meter.stats(2000).drops).toBe(39);
  expect(meter.stats(9000).fps).toBe(0);
});
