/** The messages byte by byte: tests/data/live is read here and by tests/live/test_golden.py, which writes it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { expect, test } from "vitest";

import { NOTHING, received } from "./live";
import type { Drive, Echo, LiveState, Pulse, Refusal } from "./messages";
import { parseFrame } from "./video";

const FOLDER = join(process.cwd(), "..", "tests", "data", "live");

function golden(name: string): unknown {
  return JSON.parse(readFileSync(join(FOLDER, `${name}.json`), "utf8"));
}

test("what the page sends", () => {
  const drive: Drive = {
    type: "drive",
    seq: 3,
    sent: 1234.5,
    epoch: 7,
    deadman: true,
    evidence_ms: 20.5,
    left: { linear: [0.05, 0, -0.05], angular: [0, 0.5, 0], gripper: -1 },
    right: { linear: [0, 0, 0], angular: [0, 0, 0], gripper: 0 },
  };
  expect(golden("drive")).toEqual(drive);
  const pulse: Pulse = { type: "pulse", seq: 4, sent: 1300.25, epoch: 7 };
  expect(golden("pulse")).toEqual(pulse);
  expect(golden("watch")).toEqual({ type: "watch", cameras: ["cam_high", "Kamera ä"] });
  expect(golden("ack")).toEqual({ type: "ack", camera: "Kamera ä", number: 70_000 });
});

test("what the host answers on the control socket", () => {
  const echo: Echo = { type: "echo", seq: 3, sent: 1234.5, applied: 12.5 };
  expect(golden("echo")).toEqual(echo);
  const refusal: Refusal = { type: "refusal", seq: 3, code: "reclutch", message: "let go and press again" };
  expect(golden("refusal")).toEqual(refusal);
});

test("the state, as the page keeps it", () => {
  const state = golden("state") as LiveState;
  const live = received(NOTHING, state);
  expect(live.reasonings).toEqual([{ step: 120, text: "Close the gripper." }]);
  expect(live.now).not.toBeNull();
  // nothing that the host tells is lost, and nothing is expected that it does not tell
  const { type, samples, not_recorded, audit_entry, ...kept } = state;
  expect(live.now).toEqual(kept);
  expect(Object.values(live.now!)).not.toContain(undefined);
  expect(live.now!.status).toMatchObject({ state: "stopped", epoch: 7, stopped_by: "Ada", elsewhere: false });
  expect([type, not_recorded.length, audit_entry]).toEqual(["state", 1, "a1"]);
  expect(samples).toMatchObject({ step: [10, 11], chunk_step: 10, chunk_steps: 100, chunk: [[0.5, 1]] });
});

test("a frame's bytes", () => {
  const bytes = Uint8Array.from(Buffer.from(readFileSync(join(FOLDER, "frame.hex"), "utf8"), "hex"));
  expect(parseFrame(bytes.buffer, 100)).toEqual({
    number: 70_000,
    camera: "Kamera ä",
    hostAge: 12.5,
    received: 100,
    jpeg: Uint8Array.of(0xff, 0xd8, 0x00, 0xff, 0xd9),
  });
});
