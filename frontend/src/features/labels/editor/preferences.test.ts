import { describe, expect, it } from "vitest";

import { DEFAULTS, keptOf, readPreferences } from "./preferences";

describe("preferences", () => {
  it("come back as they were kept", () => {
    const mine = {
      ...DEFAULTS,
      keys: { cut: ["K", "Ctrl+K"] },
      lagMs: 0,
      snap: false,
      layout: "focus" as const,
      looks: { cam_left_wrist: { brightness: 2.5, contrast: 1.2 } },
      tracks: ["speed" as const],
      hidden: [],
    };
    expect(readPreferences(JSON.parse(JSON.stringify(keptOf(mine))))).toEqual(mine);
    expect(Object.keys(keptOf(mine)).sort()).toEqual(["keys", "lagMs", "layout", "looks", "snap", "tracks"]);
    expect(keptOf(DEFAULTS)).toEqual({});
  });

  it("are as at the first visit where what is kept makes no sense", () => {
    for (const kept of [null, 3, [], {}, { lagMs: "1", snap: 1, layout: "x", tracks: 3, keys: [], acceptAbove: 7 }])
      expect(readPreferences(kept)).toEqual(DEFAULTS);
    expect(readPreferences({ keys: { cut: "S", merge: ["M"] }, looks: { a: { brightness: 99 } } })).toEqual({
      ...DEFAULTS,
      keys: { merge: ["M"] },
    });
    expect(readPreferences({ tracks: ["speed", "smell"] }).tracks).toEqual(["speed"]);
  });
});
