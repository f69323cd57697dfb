import { describe, expect, it } from "vitest";

import { heightOf, LAYOUTS, placed, type Box, type Size } from "./layout";
import { magnify, nextCamera, panBy, toggleOnly, transformOf, WHOLE, zoomAt } from "./cameraView";

const VGA = { width: 640, height: 480 };
const THREE: Size[] = [VGA, VGA, VGA];

function overlap(a: Box, b: Box): boolean {
  return a.left < b.left + b.width && b.left < a.left + a.width && a.top < b.top + b.height && b.top < a.top + a.height;
}

describe("placed", () => {
  it("keeps aspect ratios, inside, without overlap, in every layout", () => {
    const rooms = [
      { width: 1000, height: 340 },
      { width: 500, height: 900 },
      { width: 3000, height: 900 },
    ];
    const sets = [[VGA], THREE, [VGA, { width: 1280, height: 720 }, { width: 320, height: 320 }, VGA, VGA]];
    for (const layout of LAYOUTS)
      for (const room of rooms)
        for (const cameras of sets) {
          const boxes = placed(cameras, room, layout).map((box) => box!);
          boxes.forEach((box, index) => {
            const { width, height } = cameras[index]!;
            expect(box.width / box.height).toBeCloseTo(width / height, 1);
            expect(box.left).toBeGreaterThanOrEqual(0);
            expect(box.left + box.width).toBeLessThanOrEqual(room.width + 1);
            expect(box.top + box.height).toBeLessThanOrEqual(room.height + 1);
            for (const other of boxes.slice(0, index)) expect(overlap(box, other)).toBe(false);
          });
        }
  });

  it("makes images as large as the room lets them", () => {
    expect(placed(THREE, { width: 3000, height: 300 }, "even")[0]!.height).toBe(300);
    const tall = placed(THREE, { width: 400, height: 900 }, "even");
    expect(new Set(tall.map((box) => box!.left)).size).toBe(1);
    const row = placed(THREE, { width: 400, height: 900 }, "row");
    expect(row.map((box) => box!.top)).toEqual([0, 0, 0]);
  });

  it("shows one large, or one alone", () => {
    const focus = placed(THREE, { width: 1000, height: 400 }, "focus", { focus: 1 });
    expect(focus[1]!.width).toBeGreaterThan(2 * focus[0]!.width);
    const only = placed(THREE, { width: 1000, height: 400 }, "even", { only: 2 });
    expect(only.map((box) => box !== null)).toEqual([false, false, true]);
    expect(heightOf(only)).toBe(400);
    expect(placed([], { width: 100, height: 100 }, "even")).toEqual([]);
    expect(placed(THREE, { width: 0, height: 100 }, "even")).toEqual([null, null, null]);
  });
});

describe("which part of an image is seen", () => {
  it("goes through the cameras and back to all", () => {
    const seen = [];
    let view = WHOLE;
    for (let count = 0; count < 4; count += 1) {
      view = nextCamera(view, 3);
      seen.push(view.only);
    }
    expect(seen).toEqual([0, 1, 2, null]);
    expect(toggleOnly(toggleOnly(WHOLE, 2), 2)).toMatchObject({ only: null, focus: 2 });
  });

  it("magnifies up to eight times and stays within the image", () => {
    let view = magnify(magnify(WHOLE));
    expect(view.scale).toBe(4);
    view = panBy(view, -100, 100);
    expect([view.x, view.y]).toEqual([0.125, 0.875]);
    expect(transformOf(view, 0)).toBe("scale(4) translate(37.5%, -37.5%)");
    expect(transformOf(view, 1)).toBe("");
    expect(magnify(magnify(view)).scale).toBe(1);
  });

  it("keeps the place under the pointer", () => {
    const at = 0.3;
    const before = { ...WHOLE, scale: 2, x: 0.5 };
    const after = zoomAt(before, 0, 1.5, at, 0.5);
    const under = (view: typeof WHOLE) => view.x + (at - 0.5) / view.scale;
    expect(under(after)).toBeCloseTo(under(before));
    expect(zoomAt(before, 1, 3, 0.5, 0.5)).toMatchObject({ focus: 1, scale: 3 });
  });
});
