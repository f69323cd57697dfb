import { expect, test } from "vitest";

import { adviceFor } from "./advice";

test("advice fits the cause", () => {
  expect(adviceFor("CUDA out of memory. Tried to allocate 2 GiB")).toMatch(/batch size/);
  expect(adviceFor("No space left on device")).toMatch(/disk/);
  expect(adviceFor("the loss is not finite at step 12")).toMatch(/learning rate/);
  expect(adviceFor("/models/qwen: no such file")).toMatch(/Put back/);
  expect(adviceFor("/models/qwen is gone; put it back there, or copy the run")).toBe("");
  expect(adviceFor(null)).toMatch(/log/);
});
