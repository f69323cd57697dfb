import { beforeEach, describe, expect, test } from "vitest";

import { Keyboard, LONGEST_DELAY_MS, SPARE_MS } from "./evidence";

let keyboard: Keyboard;
beforeEach(() => {
  keyboard = new Keyboard();
});

/** A key that is held as a system does it; returns when the last repeat came. */
function hold(code: string, from: number, { delay = 660, interval = 40, repeats = 5 } = {}): number {
  keyboard.down(code, from, false);
  for (let count = 0; count < repeats; count += 1) keyboard.down(code, from + delay + count * interval, true);
  return from + delay + (repeats - 1) * interval;
}

test("nothing speaks for keys before one is pressed", () => {
  expect(keyboard.until).toBe(-Infinity);
  expect(keyboard.lastSign).toBe(-Infinity);
});

test("before anything is known of the system a key counts for the longest delay", () => {
  keyboard.down("KeyQ", 1000, false);
  expect(keyboard.until).toBe(1000 + LONGEST_DELAY_MS);
});

test.each([
  ["X11", 660, 40],
  ["Windows", 500, 31],
  ["macOS", 375, 90],
  ["a quick one", 200, 20],
])("%s: after its repeats are known the first missing one is noticed in time", (_name, delay, interval) => {
  const last = hold("KeyQ", 0, { delay, interval });
  expect(keyboard.until).toBe(last + interval + SPARE_MS);
  keyboard.up("KeyQ", last + 10);
  keyboard.down("KeyE", 5000, false);
  expect(keyboard.until).toBe(5000 + delay + SPARE_MS);
});

test("uneven repeats: the longest of the last counts, and a pause makes no other repeat late", () => {
  keyboard.down("KeyQ", 0, false);
  for (const at of [500, 530, 575, 605]) keyboard.down("KeyQ", at, true);
  expect(keyboard.until).toBe(605 + 45 + SPARE_MS);
  keyboard.down("KeyQ", 2000, true);
  expect(keyboard.until).toBe(2000 + 45 + SPARE_MS);
});

describe("two keys", () => {
  test("the newer one is repeated, and speaks for both", () => {
    hold("KeyW", 0);
    keyboard.down("KeyD", 900, false);
    expect(keyboard.until).toBe(900 + 660 + SPARE_MS);
    keyboard.down("KeyD", 1560, true);
    expect(keyboard.up("KeyW", 1570)).toBe(false);
    expect(keyboard.until).toBe(1560 + 40 + SPARE_MS);
  });

  test("when the newer one goes up nothing speaks for the older", () => {
    hold("KeyW", 0);
    keyboard.down("KeyD", 900, false);
    expect(keyboard.up("KeyD", 950)).toBe(true);
    expect(keyboard.until).toBe(-Infinity);
    expect(keyboard.lastSign).toBe(950);
  });
});

test("repeats of a key whose press was not heard prove none that is held", () => {
  keyboard.down("KeyQ", 100, true);
  expect(keyboard.until).toBe(-Infinity);
  keyboard.down("KeyW", 200, false);
  keyboard.down("KeyQ", 900, true);
  expect(keyboard.until).toBe(200 + LONGEST_DELAY_MS);
});

test("forgotten: what is held has to be pressed again", () => {
  const last = hold("KeyQ", 0);
  keyboard.forget();
  keyboard.down("KeyQ", last + 40, true);
  expect(keyboard.until).toBe(-Infinity);
});

test("a system that repeats nothing is found out when the key goes up", () => {
  keyboard.down("KeyQ", 0, false);
  keyboard.up("KeyQ", 300);
  expect(keyboard.trouble).toBeNull();
  keyboard.down("KeyQ", 1000, false);
  keyboard.up("KeyQ", 1000 + LONGEST_DELAY_MS + 1);
  expect(keyboard.trouble).toBe("off");
  hold("KeyQ", 5000);
  expect(keyboard.trouble).toBeNull();
});

test("a system that repeats too late is found out, and does not become the rule", () => {
  hold("KeyQ", 0, { delay: 1200 });
  expect(keyboard.trouble).toBe("slow");
  keyboard.up("KeyQ", 2000);
  keyboard.down("KeyE", 3000, false);
  expect(keyboard.until).toBe(3000 + LONGEST_DELAY_MS);
});

test("a key is pressed once, whatever the browser calls its repeats, and anew when it was up or long unheard of", () => {
  expect(keyboard.down("KeyQ", 0, false)).toBe(true);
  expect(keyboard.down("ShiftLeft", 400, false)).toBe(true);
  expect(keyboard.down("KeyQ", 660, false)).toBe(false); // X11, after another key
  expect(keyboard.down("KeyQ", 700, true)).toBe(false);
  keyboard.forget();
  expect(keyboard.down("KeyQ", 740, false)).toBe(false);
  keyboard.up("KeyQ", 760);
  expect(keyboard.down("KeyQ", 800, false)).toBe(true);
  keyboard.forget(); // another window has the keyboard, and hears its end
  expect(keyboard.down("KeyQ", 800 + LONGEST_DELAY_MS + 1, false)).toBe(true);
});
