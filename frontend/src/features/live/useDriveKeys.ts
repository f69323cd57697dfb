import { useEffect } from "react";

import type { Driver } from "./driver";
import { ARM_KEYS, isTyping, KEYS } from "./keys";
import { watchForThieves } from "./thieves";

/**
 * Keys drive while `active`. Whatever takes the page out of the hand, or may, lets the dead-man go.
 * twoArms: there is another arm to choose; a robot with one is driven by the keys of the first.
 */
export function useDriveKeys(driver: Driver, active: boolean, twoArms = true): void {
  useEffect(() => {
    if (!active) return;
    let byKey = false; // the dead-man is held by Shift, not by the button

    const down = (event: KeyboardEvent) => {
      const pressed = driver.keyDown(event.code, seenAt(event), event.repeat);
      if (isTyping(event.target) || isForeign(event)) {
        byKey = false;
        driver.release("Another key took over.");
        return;
      }
      if (event.key === "Shift") {
        if (!pressed) return;
        byKey = true;
        driver.hold();
        return;
      }
      lostShift(event);
      const arms = twoArms ? ARM_KEYS[event.code] : undefined;
      const { arms: now } = driver.snapshot();
      if (arms !== undefined) {
        if (pressed) driver.choose(arms);
      } else if (KEYS[now].some(({ code }) => code === event.code)) {
        if (pressed) driver.press(event.code); // a repeat proves a key, it presses none
      } else return;
      event.preventDefault();
    };
    const up = (event: KeyboardEvent) => {
      driver.keyUp(event.code, seenAt(event));
      if (event.key === "Shift") {
        byKey = false;
        driver.release(null);
      } else lostShift(event);
    };
    /** Shift was let go where we could not hear it. */
    const lostShift = (event: KeyboardEvent) => {
      if (!byKey || event.shiftKey) return;
      byKey = false;
      driver.release("Shift was let go.");
    };

    window.addEventListener("keydown", down);
    window.addEventListener("keyup", up);
    const ignore = watchForThieves((why) => {
      byKey = false;
      driver.loseKeyboard(why);
    });
    return () => {
      window.removeEventListener("keydown", down);
      window.removeEventListener("keyup", up);
      ignore();
      driver.loseKeyboard(null);
    };
  }, [driver, active, twoArms]);
}

/** When the system saw it, on performance.now()'s clock. */
function seenAt({ timeStamp }: Event): number {
  return Math.min(timeStamp, performance.now());
}

/** It belongs to the browser, the system or an input method, and may open something: Tab, F5, a menu, Alt and others. */
function isForeign(event: KeyboardEvent): boolean {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return true;
  return event.key !== "Shift" && (event.key.length > 1 || event.key === " ");
}
