import { useEffect } from "react";

import type { Driver } from "./driver";
import { ARM_KEYS, isTyping, KEYS } from "./keys";

/** Keys drive while `active`. Whatever takes the page out of the hand lets the dead-man go: blur, hiding, typing. */
export function useDriveKeys(driver: Driver, active: boolean): void {
  useEffect(() => {
    if (!active) return;
    let byKey = false; // the dead-man is held by Shift, not by the button

    const down = (event: KeyboardEvent) => {
      if (isTyping(event.target) || event.ctrlKey || event.metaKey || event.altKey) {
        driver.release("Another key took over.");
        return;
      }
      if (event.key === "Shift") {
        if (event.repeat) return;
        byKey = true;
        driver.hold();
        return;
      }
      lostShift(event);
      const arms = ARM_KEYS[event.code];
      const { arms: now } = driver.snapshot();
      if (arms !== undefined) driver.choose(arms);
      else if (KEYS[now].some(({ code }) => code === event.code)) driver.press(event.code);
      else return;
      event.preventDefault();
    };
    const up = (event: KeyboardEvent) => {
      if (event.key === "Shift") {
        byKey = false;
        driver.release(null);
      } else {
        lostShift(event);
        driver.lift(event.code);
      }
    };
    /** Shift was let go where we could not hear it. */
    const lostShift = (event: KeyboardEvent) => {
      if (!byKey || event.shiftKey) return;
      byKey = false;
      driver.release("Shift was let go.");
    };
    const away = () => {
      byKey = false;
      driver.release("The page lost the keyboard.");
    };

    window.addEventListener("keydown", down);
    window.addEventListener("keyup", up);
    window.addEventListener("blur", away);
    return () => {
      window.removeEventListener("keydown", down);
      window.removeEventListener("keyup", up);
      window.removeEventListener("blur", away);
      driver.release(null);
    };
  }, [driver, active]);
}
