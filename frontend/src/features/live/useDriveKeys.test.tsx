import { cleanup, render } from "@testing-library/react";
import { beforeEach, expect, test } from "vitest";

import { Driver } from "./driver";
import type { SocketHandlers } from "./socket";
import { useDriveKeys } from "./useDriveKeys";

let driver: Driver;

function Page({ twoArms = true }: { twoArms?: boolean }) {
  useDriveKeys(driver, true, twoArms);
  return (
    <>
      <input aria-label="name" />
      <input type="file" aria-label="file" />
      <select aria-label="choice" />
      <button aria-haspopup="menu">menu</button>
      <button>plain</button>
      <figure>
        <canvas />
      </figure>
      <button data-deadman-button>dead-man</button>
      <div role="dialog">
        <button>in a dialog</button>
      </div>
    </>
  );
}

beforeEach(() => {
  let opened: SocketHandlers["opened"];
  driver = new Driver({
    socket: (handlers) => {
      opened = handlers.opened;
      return { start: () => undefined, stop: () => undefined, send: () => true, up: true, waiting: 0 };
    },
    ticker: () => ({ every: () => undefined, end: () => undefined }),
    now: () => performance.now(),
    attended: () => true,
  });
  driver.setDriving(true);
  opened?.();
  render(<Page />);
});

const key = (type: "keydown" | "keyup", init: KeyboardEventInit, target: EventTarget = window) => {
  const event = new KeyboardEvent(type, { bubbles: true, cancelable: true, ...init });
  target.dispatchEvent(event);
  return event;
};
const shift = (type: "keydown" | "keyup") =>
  key(type, { key: "Shift", code: "ShiftLeft", shiftKey: type === "keydown" });
const view = () => driver.snapshot();

test("Shift is the dead-man, and places of keys count, not letters", () => {
  shift("keydown");
  const event = key("keydown", { key: "Ц", code: "KeyW", shiftKey: true });
  expect(view().deadman).toBe(true);
  expect([...view().held]).toEqual(["KeyW"]);
  expect(event.defaultPrevented).toBe(true);
  key("keyup", { key: "Ц", code: "KeyW", shiftKey: true });
  expect(view().held.size).toBe(0);
  shift("keyup");
  expect(view().deadman).toBe(false);
});

test("a window that loses the keyboard lets go, and a key that is still down does nothing afterwards", () => {
  shift("keydown");
  key("keydown", { code: "KeyW", key: "W", shiftKey: true });
  window.dispatchEvent(new Event("blur"));
  expect(view()).toMatchObject({ deadman: false, released: "The page lost the keyboard." });
  key("keydown", { code: "KeyW", key: "W", shiftKey: true, repeat: true });
  expect(view().held.size).toBe(0);
});

test("Shift that was let go unheard is noticed with the next key", () => {
  shift("keydown");
  key("keydown", { code: "KeyW", key: "w", shiftKey: false });
  expect(view().deadman).toBe(false);
});

test("typing lets go", () => {
  shift("keydown");
  const input = document.querySelector("input")!;
  key("keydown", { code: "KeyW", key: "W", shiftKey: true }, input);
  expect(view()).toMatchObject({ deadman: false });
  expect(view().held.size).toBe(0);
});

test("a shortcut of the browser is none of ours", () => {
  shift("keydown");
  const event = key("keydown", { code: "KeyW", key: "W", shiftKey: true, ctrlKey: true });
  expect(event.defaultPrevented).toBe(false);
  expect(view().deadman).toBe(false);
});

test("digits choose the arm", () => {
  key("keydown", { code: "Digit2", key: "2" });
  expect(view().arms).toBe("right");
});

test("a page that goes lets go", () => {
  shift("keydown");
  cleanup();
  expect(view().deadman).toBe(false);
});

function hold() {
  shift("keydown");
  key("keydown", { code: "KeyQ", key: "Q", shiftKey: true });
  expect(view()).toMatchObject({ deadman: true, released: null });
  expect([...view().held]).toEqual(["KeyQ"]);
}

const at = (selector: string) => document.querySelector(selector)!;
const happens = (
  type: string,
  where: EventTarget,
  Kind: new (type: string, init: object) => Event,
  init: object = {},
) => {
  const event = new Kind(type, { bubbles: true, cancelable: true, ...init });
  where.dispatchEvent(event);
  return event;
};

test.each<[string, () => void]>([
  ["the menu of a camera", () => happens("contextmenu", at("canvas"), PointerEvent, { pointerType: "mouse" })],
  ["a menu by the keyboard", () => key("keydown", { code: "ContextMenu", key: "ContextMenu", shiftKey: true })],
  ["the right button", () => happens("pointerdown", at("canvas"), PointerEvent, { button: 2 })],
  ["the middle button", () => happens("pointerdown", at("canvas"), PointerEvent, { button: 1 })],
  ["a select", () => happens("pointerdown", at("select"), PointerEvent)],
  ["a field", () => happens("focusin", at("input"), FocusEvent)],
  ["a button with a menu", () => happens("pointerdown", at("[aria-haspopup]"), PointerEvent)],
  ["a file dialog, by code", () => happens("click", at("[type=file]"), MouseEvent)],
  ["a dialog", () => happens("focusin", at("[role=dialog] button"), FocusEvent)],
  [
    "something that opens",
    () => void at("figure").dispatchEvent(Object.assign(new Event("beforetoggle"), { newState: "open" })),
  ],
  ["printing", () => happens("beforeprint", window, Event)],
  ["a drag", () => happens("dragstart", at("figure"), Event)],
  ["an input method", () => happens("compositionstart", at("figure"), CompositionEvent)],
  ["an input method's key", () => key("keydown", { code: "KeyW", key: "Process", shiftKey: true })],
  ["a full screen", () => happens("fullscreenchange", document, Event)],
  ["a window of another size", () => happens("resize", window, Event)],
  ["a lost pointer lock", () => happens("pointerlockchange", document, Event)],
  ["another tab", () => happens("visibilitychange", document, Event)],
  ["a page that is frozen", () => happens("freeze", document, Event)],
  ["a page that goes", () => happens("pagehide", window, Event)],
  ["a question whether to leave", () => happens("beforeunload", window, Event)],
  ["another window", () => happens("blur", window, Event)],
  ["Tab", () => key("keydown", { code: "Tab", key: "Tab", shiftKey: true })],
  ["the space bar", () => key("keydown", { code: "Space", key: " ", shiftKey: true })],
  ["a key of the window manager", () => key("keydown", { code: "MetaLeft", key: "Meta", metaKey: true })],
])("%s may hide a key's end, so it lets go", (_name, event) => {
  hold();
  event();
  expect(view().deadman).toBe(false);
  expect(view().released).not.toBeNull();
  key("keydown", { code: "KeyQ", key: "Q", shiftKey: true, repeat: true });
  expect(view()).toMatchObject({ deadman: false });
});

test("the browser's menu stays closed while one drives", () => {
  expect(happens("contextmenu", at("canvas"), PointerEvent).defaultPrevented).toBe(true);
});

test("a long touch on the dead-man opens no menu and does not let it go", () => {
  driver.hold();
  const event = happens("contextmenu", at("[data-deadman-button]"), PointerEvent, { pointerType: "touch" });
  expect(event.defaultPrevented).toBe(true);
  expect(view().deadman).toBe(true);
});

test("a plain button and a letter beside the keys let nothing go", () => {
  hold();
  happens("pointerdown", document.querySelectorAll("button")[1]!, PointerEvent);
  key("keydown", { code: "KeyT", key: "T", shiftKey: true });
  expect(view().deadman).toBe(true);
});

test("a key that was down before Shift moves nothing when it is repeated", () => {
  key("keydown", { code: "KeyQ", key: "q" });
  shift("keydown");
  key("keydown", { code: "KeyQ", key: "Q", shiftKey: true, repeat: true });
  expect(view().deadman).toBe(true);
  expect(view().held.size).toBe(0);
});

test("nor when the browser calls its repeat a press, as Chromium on X11 does after another key's event", () => {
  key("keydown", { code: "KeyQ", key: "q" });
  shift("keydown");
  key("keydown", { code: "KeyQ", key: "Q", shiftKey: true });
  expect(view().deadman).toBe(true);
  expect(view().held.size).toBe(0);
  shift("keyup");
  shift("keydown");
  key("keydown", { code: "KeyQ", key: "Q", shiftKey: true });
  expect(view().held.size).toBe(0);
  key("keyup", { code: "KeyQ", key: "Q", shiftKey: true });
  key("keydown", { code: "KeyQ", key: "Q", shiftKey: true });
  expect([...view().held]).toEqual(["KeyQ"]);
});

test("a robot with one arm has no other to choose", () => {
  key("keydown", { key: "2", code: "Digit2" });
  expect(view().arms).toBe("right");
  driver.choose("left");
  cleanup();
  driver.setDriving(true);
  render(<Page twoArms={false} />);
  expect(key("keydown", { key: "2", code: "Digit2" }).defaultPrevented).toBe(false);
  expect(view().arms).toBe("left");
});
