import type { Schema } from "@/api/client";

const count = (number: number, one: string, many: string) => `${number} ${number === 1 ? one : many}`;

/** What a new password ended, in a sentence. */
export function endedText({ sessions, tokens, links }: Schema<"AccessEnded">): string {
  const parts = [
    sessions > 0 && count(sessions, "other browser", "other browsers"),
    tokens > 0 && count(tokens, "API token", "API tokens"),
    links > 0 && count(links, "unused link", "unused links"),
  ].filter((part) => part !== false);
  if (parts.length === 0) return "You were signed in nowhere else.";
  const last = parts.pop();
  return `Ended: ${parts.length > 0 ? `${parts.join(", ")} and ${last ?? ""}` : (last ?? "")}.`;
}
