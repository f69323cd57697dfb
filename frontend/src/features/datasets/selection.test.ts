import { expect, test } from "vitest";

import { stillThere } from "./selection";

const NUMBERS = new Map([1, 2, 5, 60].map((number) => [`e${number}`, number]));
const page = (...numbers: number[]) => numbers.map((number) => ({ id: `e${number}`, number }));

test("what a page would list and does not is gone; other pages are not known", () => {
  const selected = new Set(["e1", "e2", "e60", "unseen"]);
  const there = (items: ReturnType<typeof page>, first: boolean, last: boolean) => [
    ...stillThere(selected, NUMBERS, items, { first, last }),
  ];
  expect(there(page(1, 5), true, false)).toEqual(["e1", "e60", "unseen"]);
  expect(there(page(5), true, false)).toEqual(["e60", "unseen"]);
  expect(there(page(5), false, true)).toEqual(["e1", "e2", "unseen"]);
  expect(there([], true, true)).toEqual([]);
  expect(stillThere(selected, NUMBERS, page(1, 2, 5), { first: true, last: false })).toBe(selected);
});
