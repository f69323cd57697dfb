import { expect, it } from "vitest";

import { findAddress, searchTitle, segmentQueryOf, withFilter } from "./filters";

it("turns the address into a query of the API", () => {
  const search = new URLSearchParams("text=lift&exact=1&from=0.5&to=2&who=u&state=submitted&warning=short");
  expect(segmentQueryOf(search, "substep", 50)).toEqual({
    tier: "substep",
    text: "lift",
    exact: true,
    min_steps: 25,
    max_steps: 100,
    annotator: "u",
    state: "submitted",
    warning: "short",
  });
});

it("takes the steps that lie within the seconds", () => {
  expect(segmentQueryOf(new URLSearchParams("from=0.33&to=0.33"), "plan", 30)).toMatchObject({
    min_steps: 10,
    max_steps: 9,
  });
  expect(segmentQueryOf(new URLSearchParams("from=0.1&to=0.1"), "plan", 50)).toMatchObject({
    min_steps: 5,
    max_steps: 5,
  });
});

it.each(["from=x", "from=-1", "from=", "state=lost", "warning=constructor", "text=%20"])(
  "leaves out what makes no sense: %s",
  (query) => {
    const segmentQuery = segmentQueryOf(new URLSearchParams(query), "substep", 50);
    expect(Object.values(segmentQuery).filter((value) => value !== undefined)).toEqual(["substep"]);
  },
);

it("begins at the first page with another filter", () => {
  const search = new URLSearchParams("text=lift&page=3");
  expect(withFilter(search, "text", "").toString()).toBe("");
  expect(withFilter(search, "warning", "long").toString()).toBe("text=lift&warning=long");
});

it("names a search", () => {
  expect(searchTitle(new URLSearchParams("text=lift&to=2&warning=short"))).toBe('"lift", up to 2 s, Short');
  expect(searchTitle(new URLSearchParams())).toBe("all substeps");
  expect(findAddress("d", { text: "a & b" })).toBe("/datasets/d/labels/find?text=a+%26+b&exact=1");
});
