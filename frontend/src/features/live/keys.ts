/** Which keys move what. By place on the keyboard (event.code), whatever the layout writes on them. Pure. */
import type { ArmDrive, Vector } from "./messages";

export type Arm = "left" | "right";
/** both: the left hand's keys move the left arm, the right hand's the right one, without turning */
export type Arms = Arm | "both";

type Motion = { part: "linear" | "angular"; axis: 0 | 1 | 2; sign: 1 | -1 } | { part: "gripper"; sign: 1 | -1 };

export interface Key {
  code: string;
  /** what it does, in a word or two */
  does: string;
  arm: Arm;
  motion: Motion;
}

/** At full speed: m/s and rad/s. The host has limits of its own. */
export const FULL_LINEAR = 0.3;
export const FULL_ANGULAR = 1.5;

// x to the right, y away, z up, as the camera above the table shows them
const moves = (arm: Arm, codes: readonly [string, string, string, string, string, string]): Key[] => [
  { code: codes[0], does: "away", arm, motion: { part: "linear", axis: 1, sign: 1 } },
  { code: codes[1], does: "left", arm, motion: { part: "linear", axis: 0, sign: -1 } },
  { code: codes[2], does: "nearer", arm, motion: { part: "linear", axis: 1, sign: -1 } },
  { code: codes[3], does: "right", arm, motion: { part: "linear", axis: 0, sign: 1 } },
  { code: codes[4], does: "down", arm, motion: { part: "linear", axis: 2, sign: -1 } },
  { code: codes[5], does: "up", arm, motion: { part: "linear", axis: 2, sign: 1 } },
];

const turns = (arm: Arm): Key[] => [
  { code: "KeyI", does: "pitch down", arm, motion: { part: "angular", axis: 1, sign: 1 } },
  { code: "KeyK", does: "pitch up", arm, motion: { part: "angular", axis: 1, sign: -1 } },
  { code: "KeyJ", does: "turn left", arm, motion: { part: "angular", axis: 2, sign: 1 } },
  { code: "KeyL", does: "turn right", arm, motion: { part: "angular", axis: 2, sign: -1 } },
  { code: "KeyU", does: "roll left", arm, motion: { part: "angular", axis: 0, sign: -1 } },
  { code: "KeyO", does: "roll right", arm, motion: { part: "angular", axis: 0, sign: 1 } },
];

const grips = (arm: Arm, close: string, open: string): Key[] => [
  { code: close, does: "close", arm, motion: { part: "gripper", sign: -1 } },
  { code: open, does: "open", arm, motion: { part: "gripper", sign: 1 } },
];

const LEFT_HAND = ["KeyW", "KeyA", "KeyS", "KeyD", "KeyQ", "KeyE"] as const;
const RIGHT_HAND = ["KeyI", "KeyJ", "KeyK", "KeyL", "KeyU", "KeyO"] as const;

const one = (arm: Arm): Key[] => [...moves(arm, LEFT_HAND), ...turns(arm), ...grips(arm, "KeyN", "KeyM")];

export const KEYS: Record<Arms, readonly Key[]> = {
  left: one("left"),
  right: one("right"),
  both: [
    ...moves("left", LEFT_HAND),
    ...grips("left", "KeyZ", "KeyX"),
    ...moves("right", RIGHT_HAND),
    ...grips("right", "KeyN", "KeyM"),
  ],
};

/** Keys that choose what is driven. */
export const ARM_KEYS: Record<string, Arms> = { Digit1: "left", Digit2: "right", Digit3: "both" };

const ROWS = ["QWE", "ASD", "UIO", "JKL", "ZX", "NM"].join("");

/** In the order in which they lie on the keyboard, in rows of three. */
export function onKeyboard(keys: readonly Key[]): Key[] {
  return keys.toSorted((one, other) => ROWS.indexOf(keyName(one.code)) - ROWS.indexOf(keyName(other.code)));
}

/** What is written on a key of the usual keyboard: "KeyW" is W. */
export function keyName(code: string): string {
  return code.replace(/^Key|^Digit/, "");
}

const still = (): ArmDrive => ({ linear: [0, 0, 0], angular: [0, 0, 0], gripper: 0 });

/** Velocities while the keys `held` are down; speed: share of the full one, over 0 up to 1. Opposite keys cancel. */
export function twists(held: ReadonlySet<string>, arms: Arms, speed: number): Record<Arm, ArmDrive> {
  const result = { left: still(), right: still() };
  for (const { code, arm, motion } of KEYS[arms]) {
    if (!held.has(code)) continue;
    const drive = result[arm];
    if (motion.part === "gripper") drive.gripper += motion.sign;
    else drive[motion.part][motion.axis] += motion.sign;
  }
  for (const drive of [result.left, result.right]) {
    drive.linear = scaled(drive.linear, speed * FULL_LINEAR);
    drive.angular = scaled(drive.angular, speed * FULL_ANGULAR);
  }
  return result;
}

/** Of this length, also where two or three keys are held. */
function scaled([x, y, z]: Vector, length: number): Vector {
  const factor = length / Math.max(1, Math.hypot(x, y, z));
  return [x * factor, y * factor, z * factor];
}

/** Whether a key pressed there writes something: then it drives nothing. */
export function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target.isContentEditable || target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement)
    return true;
  return (
    target instanceof HTMLInputElement && !["button", "checkbox", "radio", "range", "submit"].includes(target.type)
  );
}
