import { expect, test } from "vitest";

import { readPreflight } from "./preflight";

test("the report of a pre-flight is read with the largest parts first", () => {
  const report = readPreflight({
    ok: true,
    errors: [],
    notes: ["few labels"],
    memory_bytes: { weights: 10, optimiser: 20, total: 30 },
    disk_bytes: { needed: 5, free: 100 },
  });
  expect(report.ok).toBe(true);
  expect(report.memory.map(({ name }) => name)).toEqual(["optimiser", "weights"]);
  expect(report.memoryTotal).toBe(30);
  expect(report.disk).toEqual({ needed: 5, free: 100 });
});

test("errors make it not ok, and missing parts are not invented", () => {
  const report = readPreflight({ errors: ["no room"] });
  expect(report).toEqual({ ok: false, errors: ["no room"], notes: [], memory: [], memoryTotal: null, disk: null });
});
