import { describe, expect, test } from "vitest";

import { parse, toReading, toText } from "./fieldText";
import type { Field } from "./form";

const FIELD: Field = {
  path: "x",
  label: "X",
  kind: "number",
  description: "",
  group: "basics",
  optional: false,
  default: 1,
  stages: [2],
  advanced: false,
};

describe("what is typed", () => {
  test.each([
    ["2e-5", 2e-5],
    [" 1 000 ", 1000],
    ["1_000", 1000],
    [".5", 0.5],
    ["-3", -3],
  ])("%s is a number", (text, value) => {
    expect(parse(FIELD, text)).toEqual({ value });
  });

  test.each(["1,5", "two", "1e", "0x10", "NaN", "1e999"])("%s is none", (text) => {
    expect(parse(FIELD, text)).toHaveProperty("error");
  });

  test("stays within the bounds, and says them", () => {
    expect(parse({ ...FIELD, exclusive_minimum: 0 }, "0")).toEqual({ error: "More than 0." });
    expect(parse({ ...FIELD, minimum: 0 }, "0")).toEqual({ value: 0 });
    expect(parse({ ...FIELD, exclusive_maximum: 1 }, "1")).toEqual({ error: "Less than 1." });
    expect(parse({ ...FIELD, maximum: 5 }, "6")).toEqual({ error: "At most 5." });
    expect(parse({ ...FIELD, kind: "integer" }, "1.5")).toEqual({ error: "1.5 is not a whole number." });
  });

  test("empty stands for the stage's own value where there is one", () => {
    expect(parse({ ...FIELD, optional: true }, " ")).toEqual({ value: null });
    expect(parse(FIELD, "")).toHaveProperty("error");
  });

  test("lists are split at commas and spaces, each number within the bounds", () => {
    const list: Field = { ...FIELD, kind: "numbers", exclusive_maximum: 1 };
    expect(parse(list, "0.9, 0.98")).toEqual({ value: [0.9, 0.98] });
    expect(parse(list, "0.9 1")).toHaveProperty("error");
    expect(parse({ ...FIELD, kind: "integers" }, "6 13")).toEqual({ value: [6, 13] });
  });
});

test("a shown number is read back as itself", () => {
  for (const value of [2e-5, 1e-8, 0.1, 0.05, 100_000, 123456.789, 1e12, 0])
    expect(parse(FIELD, toText(value))).toEqual({ value });
  expect(toText(2e-5)).toBe("2e-5");
});

test("values read well", () => {
  expect(toReading(100_000, { unit: "optimiser steps" })).toBe("100 000 optimiser steps");
  expect(toReading(null)).toBe("default");
  expect(toReading(true)).toBe("on");
  expect(toReading(["vision", "llm"])).toBe("vision, llm");
  expect(toReading([])).toBe("none");
});
