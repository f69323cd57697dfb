import { expect, test } from "vitest";

import { nextPage } from "./next";

test.each([
  ["", "/"],
  ["?next=%2Fepisodes%2Fa%3Fstep%3D3", "/episodes/a?step=3"],
  ["?next=https%3A%2F%2Fevil.example", "/"],
  ["?next=%2F%2Fevil.example", "/"],
  ["?next=%2F%5Cevil.example", "/"],
  ["?next=%2Fsign-in", "/"],
])("after signing in with %s the page is %s", (search, page) => {
  expect(nextPage(search)).toBe(page);
});
