import { describe, expect, it } from "vitest";

import { follow, pan, pixelView, ticks, whole, zoom } from "./view";

describe("view", () => {
  it("zooms around a step, which keeps its place", () => {
    const near = zoom(whole(1000), 1000, 0.5, 250);
    expect(near).toEqual({ from: 125, to: 625 });
    expect((250 - near.from) / (near.to - near.from)).toBeCloseTo(0.25);
  });

  it("stays within the episode and is never closer than 20 steps", () => {
    let view = whole(300);
    for (let count = 0; count < 40; count += 1) view = zoom(view, 300, 0.5, 299);
    expect(view.to - view.from).toBeCloseTo(20);
    expect(view.to).toBeLessThanOrEqual(300);
    expect(view.from).toBeLessThan(299);
    for (let count = 0; count < 40; count += 1) view = zoom(view, 300, 2, 10);
    expect(view).toEqual(whole(300));
    expect(pan({ from: 100, to: 150 }, 300, 1e6)).toEqual({ from: 250, to: 300 });
    expect(pan({ from: 100, to: 150 }, 300, -1e6)).toEqual({ from: 0, to: 50 });
    expect(zoom(whole(5), 5, 0.1, 2)).toEqual(whole(5));
  });

  it("follows the playhead by pages and jumps", () => {
    const view = { from: 100, to: 200 };
    expect(follow(view, 1000, 150)).toBe(view);
    expect(follow(view, 1000, 200)).toEqual({ from: 195, to: 295 });
    expect(follow(view, 1000, 700)).toEqual({ from: 650, to: 750 });
    expect(follow(view, 1000, 999)).toEqual({ from: 900, to: 1000 });
  });

  it("has round ticks, not too many", () => {
    expect(ticks({ from: 0, to: 7.3 }, 10)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(ticks({ from: 0, to: 7.3 }, 20).length).toBe(15);
    expect(ticks({ from: 1.1, to: 1.5 }, 4).map((each) => Number(each.toFixed(3)))).toEqual([1.1, 1.2, 1.3, 1.4]);
    expect(ticks({ from: 0, to: 365 }, 0)).toEqual([0]);
  });
});

describe("one pixel a step", () => {
  it("shows as many steps as there are pixels, around the playhead", () => {
    expect(pixelView(20_000, 900, 10_000)).toEqual({ from: 9550, to: 10_450 });
    expect(pixelView(20_000, 900, 3)).toEqual({ from: 0, to: 900 });
    expect(pixelView(100, 900, 50)).toEqual({ from: 0, to: 100 });
    expect(pixelView(1, 900, 0)).toEqual({ from: 0, to: 1 });
  });
});
