import type { Schema } from "@/api/client";
import { formatCount, plural } from "@/ui/format";

import type { Edit, EditIn, Planned, Preview } from "./edits";

export type Action = Exclude<Schema<"EditAction">, "delete"> | "facts";

/** What one may choose, in this order. `least`: how many episodes it takes. */
export const ACTIONS: { value: Action; label: string; help: string; least: number }[] = [
  { value: "trim_idle", label: "Trim idle ends", help: "Steps at both ends in which nothing moves.", least: 1 },
  { value: "drop_idle", label: "Drop idle steps", help: "Also in the middle, half a second and more.", least: 1 },
  { value: "keep", label: "Keep a part", help: "The same steps of each.", least: 1 },
  { value: "cut", label: "Cut a part out", help: "The same steps of each.", least: 1 },
  { value: "split", label: "Split", help: "Each becomes several.", least: 1 },
  { value: "join", label: "Join", help: "One episode of all, in their order.", least: 2 },
  { value: "facts", label: "Instruction or outcome", help: "Published labels get a new revision.", least: 1 },
  { value: "rename", label: "Rename cameras or dimensions", help: "In the files.", least: 1 },
  { value: "move", label: "Move to another dataset", help: "With their labels.", least: 1 },
  { value: "copy", label: "Copy to another dataset", help: "They share the file.", least: 1 },
];

/** What an edit does that is not done, or never was: as the name of its job. */
const ASKED: Record<Edit["action"], string> = {
  keep: "Keep a part of",
  cut: "Cut",
  trim_idle: "Trim idle ends of",
  drop_idle: "Drop idle steps of",
  split: "Split",
  join: "Join",
  rename: "Rename in",
  move: "Move",
  copy: "Copy",
  delete: "Delete",
};

const DONE: Record<Edit["action"], string> = {
  keep: "Kept a part of",
  cut: "Cut a part out of",
  trim_idle: "Trimmed idle ends of",
  drop_idle: "Dropped idle steps of",
  split: "Split",
  join: "Joined",
  rename: "Renamed in",
  move: "Moved",
  copy: "Copied",
  delete: "Deleted",
};

/** "3, 4, 7 and 5 more" */
export function numbers(list: readonly { number: number }[], shown = 5): string {
  const first = list.slice(0, shown).map(({ number }) => number);
  const rest = list.length - first.length;
  return rest > 0 ? `${first.join(", ")} and ${rest} more` : first.join(", ");
}

/** "Joined episodes 3, 4: now 12"; "Join episodes 3, 4" before it is done. */
export function editText(edit: Pick<Edit, "action" | "sources" | "results" | "target_name" | "finished_at">): string {
  const what = `${edit.sources.length === 1 ? "episode" : "episodes"} ${numbers(edit.sources)}`;
  const place = edit.target_name === null ? "" : ` ${edit.finished_at === null ? "to" : "in"} ${edit.target_name}`;
  const into =
    edit.finished_at === null || edit.results.length === 0 ? place : `: now ${numbers(edit.results)}${place}`;
  return `${(edit.finished_at === null ? ASKED : DONE)[edit.action]} ${what}${into}`;
}

/** "Left as they are: 3 (changed since), 4 (changed since) and 2 more." */
export function stayedText(skipped: readonly { number: number; reason: string }[], shown: number): string {
  if (skipped.length === 0) return "";
  const first = skipped.slice(0, shown).map(({ number, reason }) => `${number} (${reason})`);
  const rest = skipped.length - first.length;
  return `Left as they are: ${first.join(", ")}${rest > 0 ? ` and ${rest} more` : ""}.`;
}

/** "steps 0–49, 120–180", "step 7" */
export function stepsText(ranges: Planned["dropped"]): string {
  const [only, ...more] = ranges;
  const one = only !== undefined && more.length === 0 && only.first === only.last;
  return `${one ? "step" : "steps"} ${rangesText(ranges)}`;
}

/** "0–49, 120–180" */
export function rangesText(ranges: Planned["dropped"], shown = 3): string {
  const first = ranges.slice(0, shown).map(({ first, last }) => (first === last ? `${first}` : `${first}–${last}`));
  const rest = ranges.length - first.length;
  return rest > 0 ? `${first.join(", ")} and ${rest} more` : first.join(", ");
}

/** "0-24, 154–174" typed by people -> ranges, or null where it is none, or nothing. */
export function rangesOf(text: string): Planned["dropped"] | null {
  const parts = text
    .replaceAll(/\s*[-–]\s*/g, "-")
    .split(/[\s,;]+/)
    .filter(Boolean);
  const found = parts.map((part) => {
    const [first = "", last = first, ...more] = part.split("-");
    const right = more.length === 0 && /^\d+$/.test(first) && /^\d+$/.test(last) && Number(first) <= Number(last);
    return right ? { first: Number(first), last: Number(last) } : null;
  });
  const ranges = found.filter((one) => one !== null);
  return parts.length > 0 && ranges.length === found.length ? ranges : null;
}

/** "12 new episodes, 3,400 steps of 4,000" */
export function previewText({ items, steps, steps_before, skipped }: Preview): string {
  if (items.length === 0) return "Nothing would change.";
  const left =
    skipped.length === 0
      ? ""
      : `; ${plural(skipped.length, "episode")} (${numbers(skipped, 12)}) would stay as ${skipped.length === 1 ? "it is" : "they are"}`;
  return `${plural(items.length, "new episode")}, ${formatCount(steps)} of ${plural(steps_before, "step")}${left}`;
}

/** Those with a problem come first, all of them, as each has to be left out; of the others as many as fit. */
export function listed(items: readonly Planned[], most: number): Planned[] {
  const wrong = items.filter(({ problem }) => problem !== null);
  const right = items.filter(({ problem }) => problem === null);
  return [...wrong, ...right.slice(0, Math.max(0, most - wrong.length))];
}

/** "1,2 or 3" typed by people -> steps, or null where it is none. */
export function stepsOf(text: string): number[] | null {
  const parts = text.split(/[\s,;]+/).filter(Boolean);
  const found = parts.map(Number);
  return parts.length > 0 && found.every((step) => Number.isInteger(step) && step > 0) ? found : null;
}

/** Names that changed, by the old ones. */
export function renamesOf(names: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(names)
      .map(([old, name]) => [old, name.trim()] as const)
      .filter(([old, name]) => name !== "" && name !== old),
  );
}

/** "3=elbow, 6=gripper" -> names by number or old name; null for what is none. */
export function dimensionsOf(text: string): Record<string, string> | null {
  const parts = text.split(",").map((part) => part.split("=").map((word) => word.trim()));
  if (text.trim() === "") return {};
  if (!parts.every((words) => words.length === 2 && words.every((word) => word !== ""))) return null;
  return Object.fromEntries(parts.map(([old = "", name = ""]) => [old, name]));
}

export interface Fields {
  first: number | "";
  last: number | "";
  at: string;
  /** by episode: the steps that go, as somebody typed them instead of those that were found */
  drop: Record<string, string>;
  cameras: Record<string, string>;
  /** "3=elbow, 6=gripper" */
  dimensions: string;
  target: string | null;
  name: string;
  instruction: string;
  outcome: "success" | "failure" | "unknown" | null;
}

export const NEW = "new";

const DO = ["keep", "cut", "split"] as const;

/** What an episode's own page asks for in the address: ?do=keep&first=40&last=299, or ?step=40 to split there. */
export function askedIn(search: URLSearchParams): { action: Action; fields: Partial<Fields> } {
  const number = (name: string) => stepsOf(search.get(name) ?? "")?.[0] ?? (search.get(name) === "0" ? 0 : "");
  const step = number("step");
  const action = DO.find((one) => one === search.get("do")) ?? "split";
  if (action === "split") return { action, fields: { first: step, at: step === "" ? "" : String(step) } };
  return { action, fields: { first: number("first"), last: number("last") } };
}

/** What is asked for, or null while something is missing. left_out: episodes that a person took out of the preview. */
export function bodyOf(action: Action, ids: string[] | null, fields: Fields): EditIn | null {
  const episode_ids = ids;
  const { first, last } = fields;
  switch (action) {
    case "trim_idle":
    case "drop_idle": {
      const typed = Object.entries(fields.drop).map(([id, text]) => [id, rangesOf(text)] as const);
      if (typed.some(([, ranges]) => ranges === null)) return null;
      const drop = Object.fromEntries(typed.map(([id, ranges]) => [id, ranges ?? []]));
      return typed.length === 0 ? { action, episode_ids } : { action, episode_ids, drop };
    }
    case "keep":
    case "cut":
      return first === "" || last === "" || first > last ? null : { action, episode_ids, first, last };
    case "split": {
      const at = stepsOf(fields.at);
      return at === null ? null : { action, episode_ids, at };
    }
    case "join": {
      const instruction = fields.instruction.trim();
      return { action, episode_ids, instruction: instruction === "" ? null : instruction };
    }
    case "rename": {
      const cameras = renamesOf(fields.cameras);
      const dimensions = dimensionsOf(fields.dimensions);
      if (dimensions === null || Object.keys({ ...cameras, ...dimensions }).length === 0) return null;
      return { action, episode_ids, cameras, dimensions };
    }
    case "move":
    case "copy": {
      const name = fields.name.trim();
      if (fields.target === NEW) return name === "" ? null : { action, episode_ids, target_name: name };
      return fields.target === null ? null : { action, episode_ids, target_id: fields.target };
    }
    case "facts":
      return null;
  }
}
