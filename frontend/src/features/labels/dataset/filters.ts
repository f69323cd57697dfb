/** What is looked for, in the address: a search can be sent to somebody, and Back brings it back. */

import { DEFAULT_FPS } from "@/features/labels/core/fps";

import type { FindingCode, SegmentQuery } from "@/features/labels/core/hooks";
import { FINDINGS, PROVENANCES } from "@/features/labels/core/words";
import { WORK_STATES } from "@/features/labels/core/WorkBadge";

export const FILTERS = ["text", "exact", "from", "to", "who", "provenance", "state", "warning"] as const;
export type Filter = (typeof FILTERS)[number];

/** Seconds from the address; null: nothing, or nothing that makes sense. */
function seconds(asked: string | null): number | null {
  const value = asked === null || asked.trim() === "" ? Number.NaN : Number(asked);
  return Number.isFinite(value) && value >= 0 ? value : null;
}

function oneOf<Key extends string>(known: Record<Key, unknown>, asked: string | null): Key | undefined {
  return asked !== null && Object.hasOwn(known, asked) ? (asked as Key) : undefined;
}

/** The query of the API. Lengths are in seconds for people, in steps there; both ends are included. */
export function segmentQueryOf(search: URLSearchParams, tier: SegmentQuery["tier"], fps: number | null): SegmentQuery {
  const rate = fps ?? DEFAULT_FPS;
  const [from, to] = [seconds(search.get("from")), seconds(search.get("to"))];
  const text = search.get("text");
  return {
    tier,
    ...(text !== null && text.trim() !== "" && { text, exact: search.get("exact") === "1" }),
    ...(from !== null && { min_steps: Math.ceil(from * rate - 1e-9) }),
    ...(to !== null && { max_steps: Math.floor(to * rate + 1e-9) }),
    annotator: search.get("who") ?? undefined,
    provenance: oneOf(PROVENANCES, search.get("provenance")),
    state: oneOf(WORK_STATES, search.get("state")),
    warning: oneOf(FINDINGS, search.get("warning")),
  };
}

/** One filter more or less; the page begins at the first hit again. */
export function withFilter(search: URLSearchParams, name: Filter, value: string | null): URLSearchParams {
  const next = new URLSearchParams(search);
  if (value === null || value === "") next.delete(name);
  else next.set(name, value);
  next.delete("page");
  return next;
}

/** Address of the search for a text, or for a kind of warning. */
export function findAddress(datasetId: string, what: { text?: string; warning?: FindingCode; who?: string }): string {
  const query = new URLSearchParams();
  if (what.text !== undefined) {
    query.set("text", what.text);
    query.set("exact", "1");
  }
  if (what.warning !== undefined) query.set("warning", what.warning);
  if (what.who !== undefined) query.set("who", what.who);
  return `/datasets/${datasetId}/labels/find?${query.toString()}`;
}

/** What is looked for, for people. */
export function searchTitle(search: URLSearchParams): string {
  const [text, from, to] = [search.get("text"), search.get("from"), search.get("to")];
  const state = oneOf(WORK_STATES, search.get("state"));
  const warning = oneOf(FINDINGS, search.get("warning"));
  const provenance = oneOf(PROVENANCES, search.get("provenance"));
  const parts = [
    text !== null && text !== "" ? `"${text}"` : null,
    from !== null ? `from ${from} s` : null,
    to !== null ? `up to ${to} s` : null,
    search.get("who") !== null ? "by one person" : null,
    provenance && PROVENANCES[provenance],
    state && WORK_STATES[state].label,
    warning && FINDINGS[warning].label,
  ].filter(Boolean);
  return parts.length > 0 ? parts.join(", ") : "all substeps";
}
