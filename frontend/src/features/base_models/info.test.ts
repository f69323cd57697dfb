import { expect, test } from "vitest";

import { formatParameters, infoLines } from "./info";

test("parameters carry a unit", () => {
  expect(formatParameters(2_208_985_600)).toBe("2.21 B");
  expect(formatParameters(1_200_000)).toBe("1.2 M");
  expect(formatParameters(950)).toBe("950");
});

test("what is known of a model becomes short phrases", () => {
  expect(
    infoLines({ parameters: 1_200_000, hidden_size: 128, layers: null, vision: { depth: 4 }, bf16: true }),
  ).toEqual(["1.2 M parameters", "hidden size 128", "bf16"]);
});
