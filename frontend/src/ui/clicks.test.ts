// @vitest-environment happy-dom
import { expect, test } from "vitest";

import { isSecondClickOfAnother } from "./clicks";

document.body.innerHTML = `<a id="link">Watch</a><button id="stop"><span id="label">Stop</span></button>`;
const link = document.getElementById("link")!;
const stop = document.getElementById("stop")!;
const label = document.getElementById("label")!;

/** Whether the stop takes these clicks for the rest of another one; each is [element, how many in the same place]. */
function clicks(...all: [Element, number][]): boolean[] {
  const found: boolean[] = [];
  const hear = (event: MouseEvent) => found.push(isSecondClickOfAnother({ detail: event.detail, currentTarget: stop }));
  stop.addEventListener("click", hear);
  for (const [element, detail] of all) element.dispatchEvent(new MouseEvent("click", { bubbles: true, detail }));
  stop.removeEventListener("click", hear);
  return found;
}

test("the second click of a double click on a link is not meant for the stop that came in its place", () => {
  expect(clicks([link, 1], [stop, 2])).toEqual([true]);
});

test("a third one is", () => {
  expect(clicks([link, 1], [stop, 2], [label, 3])).toEqual([true, false]);
});

test("every click counts that began at the stop, on whichever part of it", () => {
  expect(clicks([label, 1], [stop, 2], [label, 3])).toEqual([false, false, false]);
});

test("a click of its own counts, also right after one elsewhere, and so does a key", () => {
  expect(clicks([link, 1], [stop, 1])).toEqual([false]);
  expect(clicks([link, 1], [stop, 0])).toEqual([false]);
});
