/** Names for people of what the API counts. */

import type { Schema } from "@/api/client";
import { plural } from "@/ui/format";

import type { Change, FindingCode } from "./hooks";

export const FINDINGS: Record<FindingCode, { label: string; help: string }> = {
  length: { label: "Wrong length", help: "The labels do not end where the episode does." },
  blank: { label: "No text", help: "Labels with it cannot be submitted." },
  characters: { label: "Characters", help: "Contains characters that no label may contain." },
  unreviewed: { label: "Not reviewed", help: "A machine's proposal that nobody has looked at." },
  short: { label: "Short", help: "Shorter than the dataset's limit." },
  long: { label: "Long", help: "Longer than the dataset's limit." },
  same_neighbour: { label: "Same as before", help: "Says the same as the substep before it." },
  out_of_vocabulary: { label: "Not in the vocabulary", help: "The vocabulary does not have this text." },
  near_duplicate: { label: "Spelling", help: "Spelled almost like an entry of the vocabulary." },
  unusual_order: { label: "Unusual order", help: "Occurs at a point where it does not occur in other episodes." },
  not_looked_at: { label: "As imported", help: "As it came from a file or a script; nobody has looked at it." },
};

export const PROVENANCES: Record<Schema<"Provenance">, string> = {
  human: "by hand",
  scripted: "scripted",
  proposed: "proposed",
  machine_accepted: "machine, accepted",
  machine_edited: "machine, edited",
  imported: "imported",
};

/** What a change of many episodes did. */
export function changeText({ kind, parameters, episodes }: Change): string {
  const many = plural(episodes, "episode");
  const { old, new: fresh, texts, format } = parameters;
  if (kind === "rename") return `Renamed "${String(old)}" to "${String(fresh)}" in ${many}`;
  if (kind === "template")
    return `Proposed ${plural(Array.isArray(texts) ? texts.length : 0, "text")} of a template in ${many}`;
  if (kind === "accept") return `Accepted the imported labels of ${many}`;
  if (kind === "facts") return `Changed instruction or outcome of ${many}`;
  return `Imported labels of ${many} from ${String(format).toUpperCase()}`;
}

/** A text box with one text a line, as texts; blank lines count for nothing. */
export function linesOf(value: string): string[] {
  return value
    .split("\n")
    .map((line) => line.replace(/\s+/g, " ").trim())
    .filter((line) => line !== "");
}

/** Reasons and how many episodes have each, most frequent first. */
export function byReason<One extends { reason: string }>(skipped: readonly One[]): [string, One[]][] {
  const found = new Map<string, One[]>();
  for (const one of skipped) found.set(one.reason, [...(found.get(one.reason) ?? []), one]);
  return [...found].sort(([, a], [, b]) => b.length - a.length);
}
