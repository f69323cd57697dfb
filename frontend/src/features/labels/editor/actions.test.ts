// @vitest-environment happy-dom
import { afterEach, describe, expect, it } from "vitest";

import { actionFor, bound, chordOf, clashes, helpGroups, isBusy, withKey, type Action } from "./actions";

function press(target: EventTarget, init: KeyboardEventInit): KeyboardEvent {
  const event = new KeyboardEvent("keydown", { bubbles: true, cancelable: true, ...init });
  Object.defineProperty(event, "target", { value: target });
  return event;
}

const chord = (init: KeyboardEventInit) => chordOf(new KeyboardEvent("keydown", init));

function element(html: string): Element {
  document.body.innerHTML = html;
  const found = document.body.querySelector("[data-focus]");
  if (!found) throw new Error("no [data-focus]");
  return found;
}

afterEach(() => {
  document.body.innerHTML = "";
});

describe("chordOf", () => {
  it("names keys and modifiers", () => {
    expect(chord({ key: " ", code: "Space" })).toBe("Space");
    expect(chord({ key: "ArrowLeft", code: "ArrowLeft", shiftKey: true })).toBe("Shift+ArrowLeft");
    expect(chord({ key: "z", code: "KeyZ", ctrlKey: true })).toBe("Ctrl+Z");
    expect(chord({ key: "Z", code: "KeyZ", metaKey: true, shiftKey: true })).toBe("Ctrl+Shift+Z");
    expect(chord({ key: "Enter", code: "Enter", ctrlKey: true })).toBe("Ctrl+Enter");
  });

  it("takes signs for what they print, on any keyboard", () => {
    expect(chord({ key: "?", code: "Slash", shiftKey: true })).toBe("?");
    expect(chord({ key: "?", code: "Minus", shiftKey: true })).toBe("?");
    expect(chord({ key: "[", code: "BracketLeft" })).toBe("[");
    expect(
      chordOf({
        key: "[",
        code: "Digit8",
        ctrlKey: true,
        altKey: true,
        metaKey: false,
        shiftKey: false,
        getModifierState: (name) => name === "AltGraph",
      }),
    ).toBe("[");
  });

  it("takes keys of other scripts by their place", () => {
    expect(chord({ key: "\u044b", code: "KeyS" })).toBe("S"); // Russian
    expect(chord({ key: "\u03b6", code: "KeyZ", ctrlKey: true })).toBe("Ctrl+Z"); // Greek
    expect(chord({ key: "\u0445", code: "BracketLeft" })).toBe("[");
    expect(chord({ key: "\u0431", code: "Comma" })).toBe(",");
    expect(chord({ key: "\u00fc", code: "BracketLeft" })).toBe("["); // German
    expect(chord({ key: "Dead", code: "Equal" })).toBe("=");
  });

  it("takes Latin letters for what they print, wherever they are", () => {
    expect(chord({ key: "z", code: "KeyY", ctrlKey: true })).toBe("Ctrl+Z"); // German
    expect(chord({ key: "a", code: "KeyQ" })).toBe("A"); // French
    expect(chord({ key: "m", code: "Semicolon" })).toBe("M");
  });

  it("takes digits by their place", () => {
    expect(chord({ key: "1", code: "Digit1" })).toBe("1");
    expect(chord({ key: "&", code: "Digit1" })).toBe("1");
    expect(chord({ key: "3", code: "Numpad3" })).toBe("3");
    expect(chord({ key: "!", code: "Digit1", shiftKey: true })).toBe("Shift+1");
    expect(chord({ key: "End", code: "Numpad1" })).toBe("End");
  });
});

describe("actionFor", () => {
  const actions: Action[] = [
    { id: "play", group: "Playback", label: "Play or pause", keys: ["Space"], perform: () => undefined },
    { id: "next", group: "Steps", label: "Next", keys: ["ArrowRight"], repeats: true, perform: () => undefined },
    { id: "cut", group: "Substeps", label: "Cut", keys: ["S"], perform: () => undefined },
  ];
  const found = (target: EventTarget, init: KeyboardEventInit) => actionFor(actions, press(target, init))?.id;

  it("is suspended in text fields and dialogs", () => {
    for (const html of [
      "<input data-focus>",
      '<input type="search" data-focus>',
      "<textarea data-focus></textarea>",
      '<div contenteditable="true" data-focus></div>',
      '<div role="dialog"><button data-focus></button></div>',
    ])
      expect(found(element(html), { key: "s", code: "KeyS" })).toBeUndefined();
    expect(found(document.body, { key: "s", code: "KeyS" })).toBe("cut");
    expect(isBusy(element('<input type="range" data-focus>'))).toBe(false);
  });

  it("leaves Space to the button that has the focus, and arrows to sliders", () => {
    const button = element("<button data-focus></button>");
    expect(found(button, { key: " ", code: "Space" })).toBeUndefined();
    expect(found(button, { key: "s", code: "KeyS" })).toBe("cut");
    const slider = element('<div role="slider" data-focus></div>');
    expect(found(slider, { key: "ArrowRight", code: "ArrowRight" })).toBeUndefined();
    expect(found(document.body, { key: "ArrowRight", code: "ArrowRight" })).toBe("next");
  });

  it("repeats only what may be repeated, and takes no key with other modifiers", () => {
    expect(found(document.body, { key: "ArrowRight", code: "ArrowRight", repeat: true })).toBe("next");
    expect(found(document.body, { key: "s", code: "KeyS", repeat: true })).toBeUndefined();
    expect(found(document.body, { key: "s", code: "KeyS", ctrlKey: true })).toBeUndefined();
  });

  it("lets people have keys of their own", () => {
    const keysOf = (bindings: Parameters<typeof bound>[1]) =>
      Object.fromEntries(bound(actions, bindings).map(({ id, keys }) => [id, keys]));
    expect(keysOf({})).toEqual({ play: ["Space"], next: ["ArrowRight"], cut: ["S"] });
    const first = withKey(bound(actions, {}), {}, "cut", "Space");
    expect(keysOf(first)).toEqual({ play: [], next: ["ArrowRight"], cut: ["S", "Space"] });
    const second = withKey(bound(actions, first), first, "play", "S");
    expect(keysOf(second)).toEqual({ play: ["S"], next: ["ArrowRight"], cut: ["Space"] });
    expect(clashes(bound(actions, second))).toEqual([]);
    expect(keysOf({ gone: ["S"] })).toEqual(keysOf({})); // of another version of the page
  });

  it("lists groups and finds keys that are taken twice", () => {
    expect(helpGroups(actions).map(({ group }) => group)).toEqual(["Playback", "Steps", "Substeps"]);
    expect(clashes(actions)).toEqual([]);
    expect(clashes([...actions, { id: "x", group: "", label: "", keys: ["S"], perform: () => undefined }])).toEqual([
      "S",
    ]);
  });
});
