import { expect, test } from "vitest";

import {
  cameraRows,
  curvePath,
  EMPTY,
  instructionText,
  sameProfile,
  toggled,
  withCameras,
  type SourceCamera,
} from "./profile";

const camera = (source: string): SourceCamera => ({
  source,
  height: 48,
  width: 64,
  jpeg: true,
  bgr: true,
  colours_guessed: true,
  turned: false,
  frames: [],
});
const CAMERAS = [camera("top"), camera("wrist")];

test("what is left out and what is null says the same", () => {
  const said = { ...EMPTY, cameras: [{ source: "top", name: "cam_high" }] };
  expect(sameProfile(EMPTY, { ...EMPTY, fps: null, cameras: null })).toBe(true);
  expect(sameProfile(said, { ...EMPTY, cameras: [{ name: "cam_high", colours: null, source: "top" }] })).toBe(true);
  expect(sameProfile(said, EMPTY)).toBe(false);
  expect(sameProfile({ ...EMPTY, state: [0] }, { ...EMPTY, state: [1] })).toBe(false);
});

test("cameras that are kept come first, in their order", () => {
  const rows = cameraRows(CAMERAS, { ...EMPTY, cameras: [{ source: "wrist", name: "cam" }] });
  expect(rows.map((row) => [row.camera.source, row.kept, row.choice.name])).toEqual([
    ["wrist", true, "cam"],
    ["top", false, undefined],
  ]);
  expect(cameraRows(CAMERAS, EMPTY).every((row) => row.kept)).toBe(true);
});

test("cameras of which nothing is said are nothing said", () => {
  expect(withCameras(EMPTY, CAMERAS, [{ source: "top" }, { source: "wrist", colours: null }]).cameras).toBeNull();
  expect(withCameras(EMPTY, CAMERAS, [{ source: "wrist" }, { source: "top" }]).cameras).toHaveLength(2);
  expect(withCameras(EMPTY, CAMERAS, [{ source: "top", turned: false }, { source: "wrist" }]).cameras).toHaveLength(2);
});

test("dimensions are picked one by one, and all of them are all", () => {
  expect(toggled(null, 1, 3)).toEqual([0, 2]);
  expect(toggled([0, 2], 1, 3)).toBeNull();
});

test("where the instruction was found is said", () => {
  const found = { paraphrases: [], in_file: [] };
  expect(instructionText({ ...found, text: "fold it", found_in: "folder" })).toBe('"fold it" (the folder\'s name)');
  expect(instructionText({ ...found, text: null, found_in: null })).toBe("Nobody says what the robot is to do.");
});

test("a curve has gaps where values are missing, and a constant one is a line", () => {
  expect(curvePath([0, 1, null, 1], 30, 12)).toBe("M0.0 11.0L10.0 1.0M30.0 1.0");
  expect(curvePath([2, 2], 10, 12)).toBe("M0.0 11.0L10.0 11.0");
});
