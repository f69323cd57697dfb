import { expect, test } from "vitest";

import { formatAgo, formatBytes, formatEstimate, formatNumber, formatSeconds, plural } from "./format";

test.each([
  [0, "0 s"],
  [0.42, "0.4 s"],
  [42.4, "42 s"],
  [59.7, "1 min"],
  [185, "3 min 5 s"],
  [3600, "1 h"],
  [7799, "2 h 10 min"],
  [86_399, "1 d"],
  [273_600, "3 d 4 h"],
  [Number.NaN, "unknown"],
])("%d seconds are %s", (seconds, text) => {
  expect(formatSeconds(seconds)).toBe(text);
});

test.each([
  [3, "a few seconds"],
  [12, "about 20 s"],
  [70, "about 1 min"],
  [290, "about 5 min"],
  [7_300, "about 2 h"],
])("an estimate of %d seconds reads %s", (seconds, text) => {
  expect(formatEstimate(seconds)).toBe(text);
});

test.each([
  [0, "0 B"],
  [1000, "1000 B"],
  [1024, "1.00 KiB"],
  [1023.9 * 1024, "1.00 MiB"],
  [12_900_000, "12.3 MiB"],
  [4.2e12, "3.82 TiB"],
])("%d bytes are %s", (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

test.each([
  [0, "0"],
  [0.012345, "0.01235"],
  [0.000012, "1.20e-5"],
  [1234.5678, "1235"],
  [2.5e9, "2.50e9"],
  [-3, "-3"],
])("%d is written %s", (value, text) => {
  expect(formatNumber(value)).toBe(text);
});

test("times are relative, both ways, and become dates when they are far", () => {
  const now = new Date("2026-05-10T12:00:00Z");
  const at = (seconds: number) => formatAgo(new Date(now.getTime() + seconds * 1000), now);
  expect(at(-3)).toBe("just now");
  expect(at(-40)).toBe("40 s ago");
  expect(at(-240)).toBe("4 min ago");
  expect(at(-7200)).toBe("2 h ago");
  expect(at(3 * 3600)).toBe("in 3 h");
  expect(at(-86_400 * 60)).toMatch(/2026/);
});

test("one is not many", () => {
  expect(plural(1, "episode")).toBe("1 episode");
  expect(plural(0, "episode")).toBe("0 episodes");
});
