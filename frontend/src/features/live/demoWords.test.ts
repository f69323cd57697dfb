import { expect, test } from "vitest";

import { demoWord, progressWord } from "./demoWords";
import { aState } from "./fixtures";
import { lost, NOTHING, received } from "./live";
import type { LiveState } from "./messages";
import { paceWord } from "./words";

const policy: NonNullable<LiveState["policy"]> = {
  name: "demo",
  checkpoint_id: null,
  instruction: "Pick up the red cube",
  reasoning: null,
  latency_ms: null,
  chunks: 0,
  late_steps: 0,
  refused: null,
  ready: false,
  loading: null,
};
const loading = { phase: "Loading the policy's weights", seconds: 3.7, typical: 9, attempt: 1, trouble: null };
const recording = {
  dataset_id: "d",
  steps: 1,
  marks: 0,
  seconds: 1,
  dropped: {},
  saving: false,
  ended: false,
  note: null,
};

const told = (...args: Parameters<typeof aState>) => demoWord(received(NOTHING, aState(...args)));

test.each<[string, ReturnType<typeof told>, string, string | null]>([
  ["nothing in the way", told(), "free", null],
  ["a policy that is paused", told({ mode: "paused", policy }), "free", null],
  ["a policy that acts", told({ mode: "policy", policy }), "acts", null],
  ["a policy that loads", told({ mode: "policy", policy: { ...policy, loading } }), "loads", null],
  ["stopped", told({}, { state: "stopped", stopped_by: "grace" }), "stopped", "stopped by grace"],
  ["fault", told({}, { state: "fault", reason: "no OpenGL; install libegl1" }), "fault", "install libegl1."],
  ["driven", told({ mode: "drive", holder: "grace" }), "driven", "grace drives the robot"],
  ["a recording", told({ recording }), "recording", "Save or discard it"],
  ["one that is being saved", told({ recording: { ...recording, saving: true } }), "free", null],
  ["starting", told({}, { state: "starting" }), "away", "being connected"],
  ["nothing heard yet", demoWord(NOTHING), "away", "not been heard from yet"],
  [
    "no host",
    demoWord(lost(received(NOTHING, aState()), "The host is away.")),
    "away",
    "The host is away. The page tries again.",
  ],
])("a click that meets %s", (_, found, kind, sentence) => {
  expect(found.kind).toBe(kind);
  if (sentence === null) expect(found.sentence).toBeNull();
  else expect(found.sentence).toContain(sentence);
});

test("what loads says how far it is, also when it takes longer than it should", () => {
  expect(progressWord(loading)).toBe("Loading the policy's weights: 3 s of about 9 s");
  expect(progressWord({ ...loading, seconds: 21.2 })).toBe(
    "Loading the policy's weights: 21 s. It takes about 9 s where nothing else runs.",
  );
});

test("the speed of a simulated robot's time", () => {
  expect(paceWord(aState({ real_time: 0.41 }))).toBe("0.4x real time");
  expect(paceWord(aState({ real_time: 0.998 }))).toBe("1x real time");
  expect(paceWord(aState())).toBeNull();
});
