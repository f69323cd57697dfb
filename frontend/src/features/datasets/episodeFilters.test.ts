import { expect, test } from "vitest";

import { episodeFilterOf } from "./episodeFilters";

const asked = (address: string, words = "") =>
  JSON.parse(JSON.stringify(episodeFilterOf(new URLSearchParams(address), words))) as Record<string, unknown>;

test("the address says what the server is asked, a day in the reader's zone from its first to its last moment", () => {
  expect(asked("labels=draft&outcome=no&who=u1&tag=slow&min=10&max=20", "red cube")).toEqual({
    search: "red cube",
    label_state: "draft",
    success: "no",
    person: "u1",
    tag: "slow",
    min_steps: 10,
    max_steps: 20,
  });
  const { since, until } = asked("since=2026-03-01&until=2026-03-01");
  expect(new Date(String(until)).getTime() - new Date(String(since)).getTime()).toBe(24 * 3600 * 1000 - 1);
  expect(new Date(String(since)).getHours()).toBe(0);
});

test("what no list can be asked is left out", () => {
  expect(asked("labels=red&outcome=toString&min=-1&max=many&since=yesterday")).toEqual({});
});
