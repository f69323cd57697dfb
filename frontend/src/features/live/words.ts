/** What the page says about a robot's state. Pure. */
import { progressWord } from "./demoWords";
import type { Live } from "./live";
import type { Status } from "./messages";

export interface StateWord {
  key: "connecting" | "lost" | "starting" | "fault" | "stopped" | "holding" | "loading" | "policy" | "paused" | "drive";
  word: string;
  color: string;
  /** why it does not move, or what to do; null where the word says it all */
  why: string | null;
}

/** me: the name of who sits here. driving: this page drives. */
export function stateWord({ connection, trouble, now }: Live, me: string, driving: boolean): StateWord {
  if (connection === "connecting" || now === null)
    return {
      key: connection === "lost" ? "lost" : "connecting",
      word: connection === "lost" ? "Not connected" : "Connecting",
      color: "gray",
      why: trouble,
    };
  if (connection === "lost")
    return {
      key: "lost",
      word: "Connection lost",
      color: "orange",
      why: `${(trouble ?? "Nothing is heard from the robot").replace(/\.$/, "")}. What is shown is old. A robot that no page controls holds its position by itself.`,
    };
  const { status, mode, policy, holder, why } = now;
  switch (status.state) {
    case "starting":
      return { key: "starting", word: "Starting", color: "studio", why: "The robot is being connected." };
    case "fault":
      return {
        key: "fault",
        word: "Fault",
        color: "orange",
        why: status.reason ?? "The robot failed. Its host tries again.",
      };
    case "stopped": {
      const by = status.stopped_by ?? "somebody";
      return {
        key: "stopped",
        word: `Stopped by ${by === me ? "you" : by}`,
        color: "red",
        why: `${status.reason ? `${status.reason}. ` : ""}It takes no command until an operator re-arms it.`,
      };
    }
    case "holding":
  }
  switch (mode) {
    case "idle":
      return { key: "holding", word: "Holding", color: "teal", why };
    case "policy":
      return policy?.loading
        ? { key: "loading", word: "Loading policy", color: "studio", why: progressWord(policy.loading) }
        : { key: "policy", word: "Policy running", color: "violet", why };
    case "paused":
      return { key: "paused", word: "Paused", color: "yellow", why };
    case "drive":
      return {
        key: "drive",
        word: driving ? "You drive" : holder === me ? "You drive, on another page" : `${holder ?? "Somebody"} drives`,
        color: "blue",
        why,
      };
  }
}

/** How fast a simulated robot's time goes beside ours: it waits for a policy that is slower. Null of a real robot. */
export function paceWord({ real_time: ratio }: Status): string | null {
  return ratio === null ? null : `${ratio >= 0.95 ? "1" : ratio.toFixed(1)}x real time`;
}
