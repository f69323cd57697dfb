/** Actions by name: one list serves shortcuts, buttons, menu and the help page at once. */

export interface Action {
  readonly id: string;
  readonly group: string;
  readonly label: string;
  /** in the notation of `chordOf`: "Space", "Shift+ArrowLeft", "Ctrl+Z", "1", "?" */
  readonly keys: readonly string[];
  /** for the help page, where one line stands for several keys */
  readonly keyText?: string;
  /** the keys are the person's own */
  readonly custom?: boolean;
  readonly enabled?: () => boolean;
  /** `held`: the key repeats */
  readonly perform: (held?: boolean) => void;
  /** holding the key down repeats it */
  readonly repeats?: boolean;
  /** left out of the help page as long as it has the keys that it was delivered with: another line stands for it */
  readonly hidden?: boolean;
}

type KeyLike = Pick<KeyboardEvent, "key" | "code" | "ctrlKey" | "metaKey" | "altKey" | "shiftKey"> & {
  getModifierState?: (key: string) => boolean;
};

/** What a US keyboard prints at a place without Shift. */
const US_SIGNS: Readonly<Record<string, string>> = {
  BracketLeft: "[",
  BracketRight: "]",
  Comma: ",",
  Period: ".",
  Slash: "/",
  Minus: "-",
  Equal: "=",
  Semicolon: ";",
  Quote: "'",
  Backquote: "`",
  Backslash: "\\",
};

/** What the key means: what it prints if that is plain Latin, else what a US keyboard has at its place. */
function meaning({ key, code, shiftKey }: KeyLike): string {
  const unnamed = key === "Dead" || key === "Unidentified" || key === "Process";
  if (!unnamed && (key.length > 1 || /^[\x20-\x7e]$/.test(key))) return key;
  const letter = /^Key([A-Z])$/.exec(code)?.[1];
  return letter ?? (shiftKey ? undefined : US_SIGNS[code]) ?? key;
}

/**
 * A pressed key as text: modifiers, then the key. Digits count by their place (they need Shift on a French keyboard),
 * Latin letters and signs by what they print, whatever modifiers printing them takes; keys that print something else
 * (Cyrillic, Greek, umlauts, accents that wait for a letter) count by their place. Command counts as Ctrl.
 */
export function chordOf(event: KeyLike): string {
  const digit = /^(?:Digit|Numpad)(\d)$/.exec(event.code)?.[1];
  const numpad = event.code.startsWith("Numpad");
  const key = meaning(event);
  const printsSign = /^[!-/:-@[-`{-~]$/.test(key);
  if (printsSign && (digit === undefined || event.getModifierState?.("AltGraph") === true)) {
    const held = event.getModifierState?.("AltGraph") === true ? false : event.ctrlKey || event.metaKey;
    return `${held ? "Ctrl+" : ""}${key}`;
  }
  const name =
    digit !== undefined && (!numpad || /^\d$/.test(key))
      ? digit
      : key === " "
        ? "Space"
        : key.length === 1
          ? key.toUpperCase()
          : key;
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

/** The help page: groups in the order of their first action. Hidden ones appear if their keys were changed, or `all`. */
export function helpGroups(actions: readonly Action[], all = false): { group: string; actions: Action[] }[] {
  const groups = new Map<string, Action[]>();
  for (const action of actions) {
    if (action.hidden && !action.custom && !all) continue;
    groups.set(action.group, [...(groups.get(action.group) ?? []), action]);
  }
  return [...groups].map(([group, actions]) => ({ group, actions }));
}

/** A key that is no key of its own: what is pressed together with one. */
export function isModifier(event: Pick<KeyboardEvent, "key">): boolean {
  return ["Shift", "Control", "Alt", "AltGraph", "Meta", "CapsLock", "Fn", "NumLock"].includes(event.key);
}

/** Keys of one's own by action; the others keep theirs, less what was taken from them. */
export type Bindings = Readonly<Record<string, readonly string[]>>;

/** The actions with a person's own keys. */
export function bound(actions: readonly Action[], bindings: Bindings): Action[] {
  const known = new Set(actions.map(({ id }) => id));
  const taken = new Set(Object.entries(bindings).flatMap(([id, keys]) => (known.has(id) ? keys : [])));
  return actions.map((action) => {
    const own = bindings[action.id];
    if (own) return { ...action, keys: own, custom: true };
    const left = action.keys.filter((key) => !taken.has(key));
    return left.length === action.keys.length ? action : { ...action, keys: left, custom: true };
  });
}

/** One more key for an action, taken from whichever had it. `actions`: with the keys they have now. */
export function withKey(actions: readonly Action[], bindings: Bindings, id: string, chord: string): Bindings {
  const now = actions.find((each) => each.id === id)?.keys ?? [];
  const others = actions.filter(({ keys, id: other }) => other !== id && bindings[other] && keys.includes(chord));
  return {
    ...bindings,
    ...Object.fromEntries(others.map(({ id, keys }) => [id, keys.filter((key) => key !== chord)])),
    [id]: [...now.filter((key) => key !== chord), chord],
  };
}

/** Keys that two actions claim. */
export function clashes(actions: readonly Action[]): string[] {
  const keys = actions.flatMap((action) => action.keys);
  return keys.filter((key, index) => keys.indexOf(key) !== index);
}
