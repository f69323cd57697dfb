/** What the state socket told so far, as the page shows it. Pure. */
import { replaceEqualDeep } from "@tanstack/react-query";

import type { LiveState, Policy, Status } from "./messages";

/** Something the policy said, and the step from which on it said so. */
export interface StepReasoning {
  step: number;
  text: string;
}

export interface Live {
  /** connecting: nothing was heard yet. lost: what is shown is old. */
  connection: "connecting" | "live" | "lost";
  /** why the socket was refused or lost, if the server said so */
  trouble: string | null;
  now: Status | null;
  /** everything the policy finished saying that differs from what it said before, oldest first */
  reasonings: readonly StepReasoning[];
}

export const NOTHING: Live = { connection: "connecting", trouble: null, now: null, reasonings: [] };

const MOST_REASONINGS = 100;

/** Parts that did not change stay the same objects, so that only what changed is drawn again. */
export function received(old: Live, message: LiveState): Live {
  const now: Status = {
    status: message.status,
    mode: message.mode,
    why: message.why,
    holder: message.holder,
    policy: message.policy,
    failure: message.failure,
    building: message.building,
    real_time: message.real_time,
    recording: message.recording,
    saved: message.saved,
    scene: message.scene,
    joint_names: message.joint_names,
  };
  return {
    connection: "live",
    trouble: null,
    now: replaceEqualDeep(old.now, now),
    reasonings: remember(old.reasonings, old.now?.policy ?? null, message.policy),
  };
}

export function lost(old: Live, trouble: string | null): Live {
  return { ...old, connection: old.now === null && trouble === null ? "connecting" : "lost", trouble };
}

function remember(
  reasonings: readonly StepReasoning[],
  before: Policy | null,
  policy: Policy | null,
): readonly StepReasoning[] {
  if (policy === null) return reasonings; // what a policy that ended said stays readable
  const fresh = before === null || policy.chunks < before.chunks;
  const kept = fresh && reasonings.length > 0 ? [] : reasonings;
  const { reasoning } = policy;
  if (!reasoning?.done || reasoning.text === "" || reasoning.text === kept.at(-1)?.text) return kept;
  return [...kept.slice(1 - MOST_REASONINGS), { step: reasoning.step, text: reasoning.text }];
}
