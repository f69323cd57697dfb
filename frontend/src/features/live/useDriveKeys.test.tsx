import { cleanup, render } from "@testing-library/react";
import { beforeEach, expect, test } from "vitest";

import { Driver } from "./driver";
import type { SocketHandlers } from "./socket";
import { useDriveKeys } from "./useDriveKeys";

let driver: Driver;

function Page() {
  useDriveKeys(driver, true);
  return <input aria-label="name" />;
}

beforeEach(() => {
  let opened: SocketHandlers["opened"];
  driver = new Driver({
    socket: (handlers) => {
      opened = handlers.opened;
      return { start: () => undefined, stop: () => undefined, send: () => true, up: true, waiting: 0 };
    },
    ticker: () => ({ every: () => undefined, end: () => undefined }),
    now: () => 0,
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
