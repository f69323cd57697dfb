// @vitest-environment happy-dom
import { beforeEach, describe, expect, it, vi } from "vitest";

import type { Failure, Stored } from "./autosave";
import { clashes } from "./actions";
import { Editor, sameDraft, type Draft } from "./editor";
import type { Cutting } from "./labelling";
import { fill } from "./proposals";
import { annotatorActions, performAction, type AnnotatorParts } from "./shortcuts";
import { segmentAt, toSegments } from "@/features/labels/core/timeline";

const STEPS = 100;
const draft = (text = ""): Draft => ({
  segments: [{ start: 0, end: STEPS, text, provenance: "human" }],
  instruction: "Stack the cups",
  success: true,
  failure_step: null,
  paraphrases: [],
  quality: null,
  tags: [],
});

let stored: Stored<Draft>;
let online: boolean;

class Conflict extends Error {}

function editor({ readOnly = false } = {}): Editor {
  return new Editor({
    steps: STEPS,
    stored,
    readOnly,
    save: (document, edit) => {
      if (!online) return Promise.reject(new TypeError("away"));
      if (edit !== stored.edit) return Promise.reject(new Conflict());
      stored = { edit: edit + 1, document };
      return Promise.resolve(stored);
    },
    outcome: (error): Failure<Draft> =>
      error instanceof Conflict ? { kind: "conflict", stored } : { kind: "offline", message: "away" },
    storage: localStorage,
    key: "draft",
  });
}

function parts(edited: Editor, entries: string[] = ["reach", "grasp", "place"], how: Partial<Cutting> = {}) {
  const state = {
    step: 0,
    shown: 0,
    playing: false,
    speed: 1,
    loop: null as { start: number; end: number } | null,
    waiting: false,
  };
  const seek = (step: number) => {
    state.step = Math.min(STEPS - 1, Math.max(0, step));
  };
  const cutting: Cutting = { lagMs: 0, snap: true, fps: 50, candidates: [], ...how };
  const all: AnnotatorParts = {
    editor: edited,
    player: {
      state,
      seek,
      move: (by) => seek(state.step + by),
      toggle: () => (state.playing = !state.playing),
      pause: () => (state.playing = false),
      shiftSpeed: () => undefined,
      setLoop: (loop) => (state.loop = loop),
    },
    entries: () => entries,
    editText: vi.fn(),
    openNeighbour: vi.fn(),
    openStop: null,
    comment: null,
    reviewing: false,
    details: vi.fn(),
    publishAndNext: vi.fn(),
    cutting: () => cutting,
    findText: vi.fn(),
    copyNearest: vi.fn(),
    proposeTemplate: vi.fn(),
    askModel: vi.fn(),
    acceptAbove: () => 0.8,
    view: {
      zoom: vi.fn(),
      zoomToPixels: vi.fn(),
      toggleFollow: vi.fn(),
      toggleSnap: vi.fn(),
      nextLayout: vi.fn(),
      nextCamera: vi.fn(),
      magnify: vi.fn(),
      pan: vi.fn(),
      cameraSettings: vi.fn(),
      goToStep: vi.fn(),
      guideline: vi.fn(),
    },
    help: vi.fn(),
  };
  const actions = annotatorActions(all);
  return { all, actions, state, seek, perform: (...ids: string[]) => ids.forEach((id) => performAction(actions, id)) };
}

const texts = (edited: Editor) => toSegments(edited.timeline).map(({ start, end, text }) => [start, end, text]);

beforeEach(() => {
  localStorage.clear();
  stored = { edit: 0, document: draft() };
  online = true;
});

describe("labelling by keys", () => {
  it("takes two keys a segment, one to get there and one to label", () => {
    const edited = editor();
    const { seek, perform } = parts(edited);
    seek(30);
    perform("label-1");
    seek(60);
    perform("label-2", "last", "label-3");
    expect(texts(edited)).toEqual([
      [0, 30, "reach"],
      [30, 60, "grasp"],
      [60, 100, "place"],
    ]);
  });

  it("labels the last substep, and the one under the playhead up to its end, without a cut", () => {
    const edited = editor();
    const { seek, perform } = parts(edited);
    seek(40);
    perform("label-1");
    seek(70);
    perform("relabel-3");
    seek(10);
    perform("relabel-2");
    expect(texts(edited)).toEqual([
      [0, 40, "grasp"],
      [40, 100, "place"],
    ]);
  });

  it("takes the reaction lag off cuts while it plays, not off those while it stands", () => {
    const edited = editor();
    const { seek, perform, state } = parts(edited, ["reach", "grasp"], { lagMs: 200 });
    seek(30);
    perform("cut");
    state.playing = true;
    seek(60);
    perform("label-1");
    expect(edited.timeline.boundaries).toEqual([0, 30, 50, 100]);
    state.speed = 2;
    seek(90);
    perform("label-2");
    expect(edited.timeline.boundaries).toEqual([0, 30, 50, 70, 100]);
    // never before the substep that plays
    seek(74);
    perform("cut");
    expect(edited.timeline.boundaries).toEqual([0, 30, 50, 70, 71, 100]);
  });

  it("lets cuts while it plays snap to candidates, and goes from one to the next", () => {
    const candidates = [20, 47, 58].map((step) => ({ step, confidence: 0.5, source: "left gripper" }));
    const edited = editor();
    const { seek, perform, state } = parts(edited, ["reach"], { candidates });
    seek(50);
    perform("cut");
    expect(edited.timeline.boundaries).toEqual([0, 50, 100]);
    perform("undo", "next-candidate");
    expect(state.step).toBe(58);
    perform("previous-candidate", "previous-candidate");
    expect(state.step).toBe(20);
    state.playing = true;
    seek(50);
    perform("cut");
    expect(edited.timeline.boundaries).toEqual([0, 47, 100]);
    state.playing = true;
    seek(90);
    perform("cut");
    expect(edited.timeline.boundaries).toEqual([0, 47, 90, 100]);
    perform("undo");
    state.playing = true;
    state.speed = 0.5;
    seek(66);
    perform("cut");
    expect(edited.timeline.boundaries, "at half the speed the eye is surer").toEqual([0, 47, 66, 100]);
  });

  it("brings a boundary to the playhead", () => {
    const edited = editor();
    const { seek, perform } = parts(edited);
    seek(30);
    perform("cut");
    seek(36);
    perform("boundary-here");
    expect(edited.timeline.boundaries).toEqual([0, 36, 100]);
  });

  it("accepts and rejects proposals one by one, never one that is not under the playhead", () => {
    const edited = editor();
    const { perform, state } = parts(edited);
    edited.edit((timeline) =>
      fill(timeline, [
        { start: 20, end: 40, text: "reach", source: "gripper", confidence: 0.9 },
        { start: 40, end: 60, text: "grasp", source: "gripper", confidence: 0.4 },
        { start: 60, end: 100, text: "place", source: "gripper", confidence: 0.95 },
      ]),
    );
    perform("accept");
    expect([state.step, edited.timeline.labels[1]?.provenance]).toEqual([20, "proposed"]);
    perform("accept");
    expect([state.step, edited.timeline.labels[1]?.provenance]).toEqual([40, "machine_accepted"]);
    perform("reject");
    expect([state.step, edited.timeline.labels[2]]).toEqual([60, { text: "", provenance: "human" }]);
    perform("accept-all");
    expect(edited.timeline.labels[3]?.provenance).toBe("machine_accepted");
    perform("undo", "undo", "undo", "undo");
    expect(texts(edited)).toEqual([[0, 100, ""]]);
  });

  it("jumps to boundaries, nudges and removes them", () => {
    const edited = editor();
    const { seek, perform, state } = parts(edited);
    seek(30);
    perform("cut");
    seek(60);
    perform("cut", "first", "next-boundary");
    expect([state.step, edited.state.selected]).toEqual([30, 1]);
    perform("nudge-forward", "nudge-forward");
    expect([state.step, edited.timeline.boundaries]).toEqual([32, [0, 32, 60, 100]]);
    perform("next-boundary", "remove");
    expect(edited.timeline.boundaries).toEqual([0, 32, 100]);
    perform("merge");
    expect(edited.timeline.boundaries).toEqual([0, 32, 100]); // the last has no next one
    seek(0);
    perform("merge");
    expect(edited.timeline.boundaries).toEqual([0, 100]);
  });

  it("repeats the last text, relabels without a cut, loops a substep", () => {
    const edited = editor();
    const { seek, perform, state } = parts(edited);
    seek(20);
    perform("repeat"); // nothing to repeat yet
    expect(edited.timeline.labels.length).toBe(1);
    perform("label-2");
    seek(50);
    perform("repeat", "relabel-3", "loop");
    expect(texts(edited)).toEqual([
      [0, 20, "grasp"],
      [20, 50, "grasp"],
      [50, 100, "place"],
    ]);
    expect(state.loop).toEqual({ start: 50, end: 100 });
    perform("loop");
    expect(state.loop).toBeNull();
    expect(segmentAt(edited.timeline, 49)).toBe(1);
  });

  it("gives the original back after undoing everything", async () => {
    const edited = editor();
    const before = JSON.stringify(edited.state.content);
    const { seek, perform } = parts(edited);
    for (let step = 5; step < STEPS; step += 5) {
      seek(step);
      perform(`label-${(step % 3) + 1}`, "nudge-forward");
    }
    edited.change((content) => ({ ...content, instruction: "other", success: false }));
    while (edited.state.canUndo) perform("undo");
    expect(JSON.stringify(edited.state.content)).toBe(before);
    await edited.autosave.flush();
    expect(sameDraft(stored.document, draft())).toBe(true);
  });

  it("has no key twice and changes nothing for a viewer", () => {
    const edited = editor({ readOnly: true });
    const { actions, seek, perform } = parts(edited);
    expect(clashes(actions)).toEqual([]);
    seek(40);
    perform("cut", "label-1", "relabel-1", "merge", "remove", "nudge-back", "edit-text", "undo", "publish-next");
    edited.edit(() => {
      throw new Error("must not be asked");
    });
    expect(edited.timeline.labels.length).toBe(1);
    expect(edited.autosave.unsaved).toBe(false);
  });
});

describe("other people and bad lines", () => {
  it("shows what somebody else saved while nothing of ours waits", () => {
    const edited = editor();
    edited.adopt({ edit: 4, document: draft("theirs") });
    expect([texts(edited), edited.autosave.edit]).toEqual([[[0, 100, "theirs"]], 4]);
    edited.adopt({ edit: 3, document: draft("old") });
    expect(texts(edited)).toEqual([[0, 100, "theirs"]]);
  });

  it("lets the person decide when both edited, and taking theirs can be undone", async () => {
    const edited = editor();
    const { seek, perform } = parts(edited);
    stored = { edit: 1, document: draft("theirs") };
    seek(30);
    perform("label-1");
    edited.adopt(stored); // not while ours waits
    expect(edited.timeline.labels.length).toBe(2);
    await edited.autosave.flush();
    expect(edited.state.save.kind).toBe("conflict");
    edited.takeTheirs();
    expect(texts(edited)).toEqual([[0, 100, "theirs"]]);
    perform("undo");
    expect(edited.timeline.labels.length).toBe(2);
    await edited.autosave.flush();
    expect(stored.edit).toBe(2);
  });

  it("takes up what an earlier visit could not save; on another base it is a conflict", async () => {
    online = false;
    const { seek, perform } = parts(editor());
    seek(30);
    perform("label-1");
    online = true;
    const again = editor();
    expect([again.restored, again.timeline.labels.length]).toEqual([true, 2]);

    stored = { edit: 5, document: draft("theirs") };
    const late = editor();
    expect([late.state.save.kind, late.timeline.labels.length]).toEqual(["conflict", 2]);
    late.keepMine();
    await vi.waitFor(() => expect(stored.edit).toBe(6));
    expect(stored.document.segments.length).toBe(2);
    expect(localStorage.getItem("draft")).toBeNull();
  });
});
