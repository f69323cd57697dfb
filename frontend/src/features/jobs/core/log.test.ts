import { expect, test } from "vitest";

import { append, EMPTY, MOST, prepend, settled } from "./log";

const chunk = (text: string, offset: number, size = offset + text.length) => ({
  text,
  offset,
  next_offset: offset + text.length,
  size,
});

test("chunks join where one ends and the next begins", () => {
  const tail = append(append(EMPTY, chunk("one\n", 10)), chunk("two\n", 14));
  expect(tail).toEqual({ text: "one\ntwo\n", start: 10, end: 18, size: 18 });
});

test("a log that was begun anew replaces what was shown", () => {
  const tail = append(append(EMPTY, chunk("old\n", 100)), chunk("new\n", 0));
  expect(tail).toEqual({ text: "new\n", start: 0, end: 4, size: 4 });
});

test("a very long log loses its oldest whole lines and can bring them back", () => {
  const old = `${"a".repeat(999)}\n`.repeat(100);
  const tail = append(append(EMPTY, chunk(old, 0)), chunk(`${"b".repeat(999)}\n`.repeat(400), old.length));
  expect(tail.text.length).toBe(MOST);
  expect(tail.text.startsWith("b")).toBe(true);
  expect(tail.start).toBe(100_000);
  const earlier = prepend(tail, chunk(old.slice(0, tail.start), 0));
  expect(earlier.start).toBe(0);
});

test("an earlier chunk that does not fit is left out", () => {
  const tail = append(EMPTY, chunk("end", 100));
  expect(prepend(tail, chunk("gap", 10))).toBe(tail);
});

test("a progress bar shows its last state", () => {
  expect(settled("start\n10%\r50%\r100%\nend\r\n")).toBe("start\n100%\nend\n");
});
