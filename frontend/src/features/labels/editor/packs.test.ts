import { describe, expect, it } from "vitest";

import { CAMERAS, packOf, textOf } from "./fakeFrames";
import { Budgeted, parsePack } from "./packs";

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
