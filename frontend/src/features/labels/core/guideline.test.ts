import { expect, it } from "vitest";

import { MOST_EXAMPLES, moved, imagesOf, withExample, withoutLost, type EntryDraft } from "./guideline";

const ENTRY: EntryDraft = { text: "lift", description: "", examples: [{ episode_id: "a", step: 3, camera: "top" }] };

it("takes an example once", () => {
  expect(withExample(ENTRY, { episode_id: "a", step: 3, camera: "top" })).toBeNull();
  expect(withExample(ENTRY, { episode_id: "a", step: 3, camera: null })?.examples).toHaveLength(2);
});

it("takes no more examples than may be", () => {
  const many = Array.from({ length: MOST_EXAMPLES }, (_, step) => ({ episode_id: "a", step, camera: null }));
  expect(withExample({ ...ENTRY, examples: many }, { episode_id: "b", step: 0, camera: null })).toBeNull();
});

it("leaves out examples of episodes that are gone", () => {
  const [first] = withoutLost([
    {
      ...ENTRY,
      digit: 1,
      segments: 2,
      examples: [
        { episode_id: "a", step: 3, camera: "top", there: false },
        { episode_id: "b", step: 4, camera: null, there: true },
      ],
    },
  ]);
  expect(first?.examples).toEqual([{ episode_id: "b", step: 4, camera: null }]);
});

it("moves an entry within the list", () => {
  expect(moved(["a", "b", "c"], 0, 1)).toEqual(["b", "a", "c"]);
  expect(moved(["a", "b", "c"], 0, -1)).toEqual(["a", "b", "c"]);
  expect(moved(["a", "b", "c"], 2, 1)).toEqual(["a", "b", "c"]);
});

it("shows one camera, or all", () => {
  expect(imagesOf({ episode_id: "a", step: 3, camera: "left wrist" }, ["top"])).toEqual([
    "/api/episodes/a/frames/left%20wrist/3",
  ]);
  expect(imagesOf({ episode_id: "a", step: 3, camera: null }, ["top", "left"])).toHaveLength(2);
});
