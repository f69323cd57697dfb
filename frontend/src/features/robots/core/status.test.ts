import { expect, test } from "vitest";

import type { Robot } from "./hooks";
import { lookOf, troubleOf } from "./status";

const status: Robot["status"] = {
  state: "holding",
  epoch: 0,
  views: [],
  cameras: [{ name: "cam_high", height: 480, width: 640, fps: 0 }],
  tick_hz: 50,
  late_ms: 1,
  simulated: true,
  elsewhere: false,
};

test("a robot that is away is never shown as ready", () => {
  expect(lookOf({ present: false, status }).label).toBe("away");
  expect(lookOf({ present: true, status }).label).toBe("holding");
});

test("a stop says who pressed it and why", () => {
  const stopped = lookOf({
    present: true,
    status: { ...status, state: "stopped", stopped_by: "Ada", reason: "smoke" },
  });
  expect(stopped).toMatchObject({ label: "stopped", color: "red" });
  expect(stopped.help).toContain("Ada (smoke)");
});

test("what is wrong is told, of a robot that is there", () => {
  const fault = { ...status, state: "fault" as const, reason: "no OpenGL" };
  expect(troubleOf({ present: true, status: fault })).toBe("no OpenGL");
  expect(troubleOf({ present: false, status: fault })).toBeNull();
  expect(troubleOf({ present: true, status: { ...status, camera_fault: "dark" } })).toBe("Cameras: dark");
  expect(troubleOf({ present: true, status })).toBeNull();
});
