import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { Looking } from "./looking";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("it looks once at a time, once more for what was said meanwhile, and not where there is nothing", async () => {
  let [needed, looks] = [true, 0];
  let failed = false;
  const looking = new Looking(
    () => needed,
    () => Promise.resolve((looks += 1)).then(() => failed),
    1000,
  );
  for (let said = 0; said < 5; said += 1) looking.now();
  expect(looks).toBe(1);
  await vi.advanceTimersByTimeAsync(1000);
  expect(looks).toBe(2);
  await vi.advanceTimersByTimeAsync(5000);
  expect(looks).toBe(2); // nobody said anything
  failed = true;
  await vi.advanceTimersByTimeAsync(16_000);
  expect(looks).toBe(3); // a word may be lost
  failed = false;
  await vi.advanceTimersByTimeAsync(1000);
  expect(looks).toBe(4); // the studio did not answer
  needed = false;
  await vi.advanceTimersByTimeAsync(60_000);
  looking.now();
  expect(looks).toBe(4);
});
