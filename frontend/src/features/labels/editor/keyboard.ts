import { useEffect, useEffectEvent } from "react";

import { actionFor, type Action } from "./actions";

/** Keys perform actions; buttons inside of `inside` (a selector) leave the focus where it is when they are clicked. */
export function useKeyboard(actions: readonly Action[], inside: string): void {
  const onKey = useEffectEvent((event: KeyboardEvent) => {
    const action = actionFor(actions, event);
    if (!action) return;
    // also when it cannot be done now: Backspace and Ctrl+arrows mean something else to browsers
    event.preventDefault();
    if (action.enabled?.() ?? true) action.perform(event.repeat);
  });
  const onPress = useEffectEvent((event: MouseEvent) => {
    // a button that was clicked must not take the next Space
    if (event.target instanceof Element && event.target.closest(`${inside} button`)) event.preventDefault();
  });
  useEffect(() => {
    const key = (event: KeyboardEvent) => onKey(event);
    const press = (event: MouseEvent) => onPress(event);
    window.addEventListener("keydown", key);
    window.addEventListener("mousedown", press);
    return () => {
      window.removeEventListener("keydown", key);
      window.removeEventListener("mousedown", press);
    };
  }, []);
}
