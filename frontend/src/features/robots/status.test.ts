import { expect, test } from "vitest";

import { lookOf, statusOf } from "./status";

test("a status is read whatever is in it", () => {
  expect(statusOf({ status: { state: "holding", cameras: ["cam_high"], tick_hz: 50 } })).toEqual({
    state: "holding",
    cameras: ["cam_high"],
    tickHz: 50,
  });
  expect(statusOf({ status: { cameras: [{ name: "wrist" }, 3] } })).toEqual({
    state: "unknown",
    cameras: ["wrist"],
    tickHz: null,
  });
  expect(statusOf({ status: {} })).toEqual({ state: "unknown", cameras: [], tickHz: null });
});

test("a robot that is away is never shown as ready", () => {
  expect(lookOf({ present: false, status: { state: "holding" } }).label).toBe("away");
  expect(lookOf({ present: true, status: { state: "stopped" } })).toMatchObject({ label: "stopped", color: "red" });
});
