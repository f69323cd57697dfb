// @vitest-environment happy-dom
import { expect, test } from "vitest";

import { warnBeforeLeaving } from "./leaving";

function asks(): boolean {
  const leave = new Event("beforeunload", { cancelable: true });
  window.dispatchEvent(leave);
  return leave.defaultPrevented;
}

test("the browser asks as long as the uploads of any dataset are under way", () => {
  const [one, other] = [{}, {}];
  warnBeforeLeaving(one, true);
  warnBeforeLeaving(one, true);
  warnBeforeLeaving(other, true);
  warnBeforeLeaving(one, false);
  expect(asks()).toBe(true);
  warnBeforeLeaving(other, false);
  expect(asks()).toBe(false);
});
