/** Actions by name: one list serves shortcuts, buttons, menu and the help page at once. */

export interface Action {
  readonly id: string;
  readonly group: string;
  readonly label: string;
  /** in the notation of `chordOf`: "Space", "Shift+ArrowLeft", "Ctrl+Z", "1", "?" */
  readonly keys: readonly string[];
  /** for the help page, where one line stands for several keys */
  readonly keyText?: string;
  readonly enabled?: () => boolean;
  readonly perform: () => void;
  /** holding the key down repeats it */
  readonly repeats?: boolean;
  /** left out of the help page: another line stands for it */
  readonly hidden?: boolean;
}

type KeyLike = Pick<KeyboardEvent, "key" | "code" | "ctrlKey" | "metaKey" | "altKey" | "shiftKey"> & {
  getModifierState?: (key: string) => boolean;
};

/**
 * A pressed key as text: modifiers, then the key. Digits count by their place (they need Shift on a French keyboard),
 * signs by what they print, whatever modifiers printing them takes; Command counts as Ctrl.
 */
export function chordOf(event: KeyLike): string {
  const digit = /^(?:Digit|Numpad)(\d)$/.exec(event.code)?.[1];
  const numpad = event.code.startsWith("Numpad");
  const printsSign = event.key.length === 1 && !/^[\p{Letter}\d\s]$/u.test(event.key);
  if (printsSign && (digit === undefined || event.getModifierState?.("AltGraph") === true)) {
    const held = event.getModifierState?.("AltGraph") === true ? false : event.ctrlKey || event.metaKey;
    return `${held ? "Ctrl+" : ""}${event.key}`;
  }
  const name =
    digit !== undefined && (!numpad || /^\d$/.test(event.key))
      ? digit
      : event.key === " "
        ? "Space"
        : event.key.length === 1
          ? event.key.toUpperCase()
          : event.key;
  return [
    ...(event.ctrlKey || event.metaKey ? ["Ctrl"] : []),
    ...(event.altKey ? ["Alt"] : []),
    ...(event.shiftKey ? ["Shift"] : []),
    name,
  ].join("+");
}

const NOT_TEXT = new Set(["button", "checkbox", "radio", "range", "submit", "reset", "file", "color", "image"]);

/** Whether keys belong to what the event went to: a text field, a list that is open, a dialog. */
export function isBusy(target: EventTarget | null): boolean {
  if (!(target instanceof Element)) return false;
  if (target.closest("[role=dialog], [role=menu], [role=listbox]")) return true;
  if (target instanceof HTMLInputElement) return !NOT_TEXT.has(target.type);
  return target instanceof HTMLElement && (target.closest("textarea, select") !== null || target.isContentEditable);
}

/** Space and Enter press what has the focus; arrows move what slides. */
function ownKey(chord: string, target: EventTarget | null): boolean {
  if (!(target instanceof Element)) return false;
  if (chord === "Space" || chord === "Enter")
    return target.closest("button, a[href], summary, [role=button], [role=tab], [role=option], [role=switch]") !== null;
  return (
    /Arrow|Home|End/.test(chord) && target.closest("[role=tab], [role=slider], [role=radio], [type=range]") !== null
  );
}

/** The action of a key press, unless the key belongs to what has the focus. */
export function actionFor(actions: readonly Action[], event: KeyboardEvent): Action | null {
  if (event.defaultPrevented || event.isComposing || isBusy(event.target)) return null;
  const chord = chordOf(event);
  if (ownKey(chord, event.target)) return null;
  const action = actions.find(({ keys }) => keys.includes(chord));
  if (!action || (event.repeat && action.repeats !== true)) return null;
  return action;
}

/** For people: "Ctrl+Shift+Z", "Left", "Space". */
export function keyText(chord: string): string {
  return chord.replace("Arrow", "");
}

/** The help page: groups in the order of their first action. */
export function helpGroups(actions: readonly Action[]): { group: string; actions: Action[] }[] {
  const groups = new Map<string, Action[]>();
  for (const action of actions) {
    if (action.hidden) continue;
    groups.set(action.group, [...(groups.get(action.group) ?? []), action]);
  }
  return [...groups].map(([group, actions]) => ({ group, actions }));
}

/** Keys that two actions claim. */
export function clashes(actions: readonly Action[]): string[] {
  const keys = actions.flatMap((action) => action.keys);
  return keys.filter((key, index) => keys.indexOf(key) !== index);
}
