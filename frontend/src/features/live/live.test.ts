import { expect, test } from "vitest";

import { aState } from "./fixtures";
import { lost, NOTHING, received } from "./live";
import type { LiveState, Policy, Reasoning } from "./messages";
import { stateWord } from "./words";

function policy(reasoning: Reasoning | null, chunks = 1): Policy {
  return {
    name: "demo",
    checkpoint_id: null,
    instruction: "Pick up the red cube",
    reasoning,
    latency_ms: 20,
    chunks,
    late_steps: 0,
    refused: null,
    ready: true,
    loading: null,
  };
}

const loading = { phase: "First frames", seconds: 6.2, typical: 9, attempt: 1, trouble: null };

const says = (step: number, text: string, done: boolean, chunks = 1) =>
  aState({ mode: "policy", policy: policy({ step, text, done }, chunks) });

test("what did not change stays the same object", () => {
  const first = received(NOTHING, aState());
  const second = received(first, aState({ why: "nobody commands" }));
  expect(second.now?.status).toBe(first.now?.status);
  expect(second.now).not.toBe(first.now);
});

test("the history has each finished text once, with the step from which on it was said", () => {
  let live = received(NOTHING, says(0, "Re", false));
  expect(live.reasonings).toEqual([]);
  live = received(live, says(0, "Reach for the cube", true));
  live = received(live, says(16, "Rea", false, 2));
  live = received(live, says(16, "Reach for the cube", true, 2));
  live = received(live, says(32, "Lift it", true, 3));
  expect(live.reasonings).toEqual([
    { step: 0, text: "Reach for the cube" },
    { step: 32, text: "Lift it" },
  ]);
});

test("what a policy said stays after it ended, and goes when the next one begins", () => {
  let live = received(NOTHING, says(0, "Reach", true, 5));
  live = received(live, aState());
  expect(live.reasonings).toHaveLength(1);
  live = received(live, aState({ mode: "policy", policy: policy(null, 0) }));
  expect(live.reasonings).toEqual([]);
});

test("a silent socket is said to be lost, and what is known stays", () => {
  const live = lost(received(NOTHING, aState()), null);
  expect(live.connection).toBe("lost");
  expect(live.now).not.toBeNull();
  expect(lost(NOTHING, null).connection).toBe("connecting");
  expect(lost(NOTHING, "There is no robot x").trouble).toBe("There is no robot x");
});

test("the state in a word", () => {
  const word = (change: Partial<LiveState>, status: Partial<LiveState["status"]> = {}, driving = false) =>
    stateWord(received(NOTHING, aState(change, status)), "ada", driving).word;
  expect(word({})).toBe("Holding");
  expect(word({}, { state: "stopped", stopped_by: "ada" })).toBe("Stopped by you");
  expect(word({ mode: "policy" }, { state: "stopped", stopped_by: "bob" })).toBe("Stopped by bob");
  expect(word({ mode: "policy", policy: policy(null) })).toBe("Policy running");
  expect(word({ mode: "policy", policy: { ...policy(null), ready: false, loading } })).toBe("Loading policy");
  expect(word({ mode: "paused", policy: policy(null), why: "paused by ada" })).toBe("Paused");
  expect(word({ mode: "drive", holder: "ada" }, {}, true)).toBe("You drive");
  expect(word({ mode: "drive", holder: "ada" })).toBe("You drive, on another page");
  expect(word({ mode: "drive", holder: "bob" })).toBe("bob drives");
  expect(stateWord(lost(received(NOTHING, aState()), null), "ada", false).key).toBe("lost");
  expect(stateWord(lost(received(NOTHING, aState()), "Nobody answers."), "ada", false).why).toMatch(
    /^Nobody answers\. What/,
  );
  expect(stateWord(NOTHING, "ada", false).key).toBe("connecting");
});
