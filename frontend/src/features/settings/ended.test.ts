import { expect, test } from "vitest";

import { endedText } from "./ended";

test("says what a new password ended", () => {
  expect(endedText({ sessions: 0, tokens: 0, links: 0 })).toBe("You were signed in nowhere else.");
  expect(endedText({ sessions: 0, tokens: 1, links: 0 })).toBe("Ended: 1 API token.");
  expect(endedText({ sessions: 2, tokens: 0, links: 1 })).toBe("Ended: 2 other browsers and 1 unused link.");
  expect(endedText({ sessions: 1, tokens: 2, links: 3 })).toBe(
    "Ended: 1 other browser, 2 API tokens and 3 unused links.",
  );
});
