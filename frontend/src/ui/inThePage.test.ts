import { expect, it } from "vitest";

import { inThePage } from "./inThePage";

it("leaves flags of the command line out, and nothing else in brackets", () => {
  expect(inThePage("read as OpenCV's tools write them; look at a frame: red has to be red (else --colours rgb)")).toBe(
    "read as OpenCV's tools write them; look at a frame: red has to be red",
  );
  expect(inThePage("take the folder's name (--instruction-from folder), or a table (--instruction-table FILE)")).toBe(
    "take the folder's name, or a table",
  );
  expect(inThePage("camera depth holds depth (uint16 (12, 48, 64)); left out")).toBe(
    "camera depth holds depth (uint16 (12, 48, 64)); left out",
  );
});
