import { expect, test } from "vitest";

import { Slots } from "./slots";

test("so many have one at once, in their order, and who is aborted keeps nobody", async () => {
  const slots = new Slots(1);
  const had: string[] = [];
  const aborted = new AbortController();
  const never = new AbortController().signal;
  await slots.take(never);
  const gone = slots.take(aborted.signal).then(
    () => had.push("gone"),
    (error: unknown) => had.push((error as Error).name),
  );
  const [first, second] = ["first", "second"].map((name) => slots.take(never).then(() => had.push(name)));
  aborted.abort();
  await gone;
  slots.give();
  await first;
  expect(had).toEqual(["AbortError", "first"]);
  slots.give();
  await second;
  slots.give();
  await slots.take(never);
  expect(had).toEqual(["AbortError", "first", "second"]);
  await expect(slots.take(aborted.signal)).rejects.toThrow();
});
