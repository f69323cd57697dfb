/** What a click on the demo policy meets, and what helps. Pure. */
import type { Live } from "./live";
import type { Progress } from "./messages";

export interface DemoWord {
  /** free: it may begin. acts: a policy does. stopped: after re-arming. Else something else has to happen first. */
  kind: "free" | "acts" | "loads" | "stopped" | "recording" | "driven" | "fault" | "away";
  /** what is in the way, null where nothing is */
  sentence: string | null;
}

export function demoWord({ connection, trouble, now }: Live): DemoWord {
  if (now === null || connection !== "live")
    return {
      kind: "away",
      sentence: `${ended(trouble ?? "The robot has not been heard from yet")} The page tries again.`,
    };
  const { status, mode, policy, recording, holder } = now;
  if (status.state === "starting")
    return { kind: "away", sentence: "The robot is being connected. The demo starts when it is ready." };
  if (status.state === "fault")
    return {
      kind: "fault",
      sentence: `${ended(status.reason ?? "The robot failed")} Its host connects it again by itself.`,
    };
  if (status.state === "stopped")
    return {
      kind: "stopped",
      sentence: `The robot was stopped by ${status.stopped_by ?? "somebody"}. It moves again when it is re-armed.`,
    };
  if (mode === "drive")
    return { kind: "driven", sentence: `${holder ?? "Somebody"} drives the robot. Wait until they let go.` };
  if (recording !== null && !recording.saving && mode !== "policy")
    return { kind: "recording", sentence: "A recording is under way. Save or discard it first." };
  if (mode === "policy") return { kind: policy?.loading ? "loads" : "acts", sentence: null };
  return { kind: "free", sentence: null };
}

/** How far something is that takes seconds, in a line. */
export function progressWord({ phase, seconds, typical }: Progress): string {
  const about = `about ${Math.ceil(typical)} s`;
  return seconds <= typical
    ? `${phase}: ${Math.floor(seconds)} s of ${about}`
    : `${phase}: ${Math.floor(seconds)} s. It takes ${about} where nothing else runs.`;
}

function ended(text: string): string {
  return text.endsWith(".") ? text : `${text}.`;
}
