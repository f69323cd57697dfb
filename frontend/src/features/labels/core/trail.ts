/**
 * A list of places that a person goes through one after the other in the annotator: their work, or what a search
 * found. It is kept for the tab; the address says with `?trail=` at which of them the page is.
 */

export interface Stop {
  readonly episode: string;
  readonly number: number;
  /** where to look; null: at the beginning */
  readonly step: number | null;
  readonly tier: "substep" | "plan";
  readonly rater: number;
}

export interface Trail {
  readonly kind: "work" | "hits" | "review";
  readonly dataset: string;
  /** the page that it came from */
  readonly from: string;
  /** what was looked for */
  readonly title: string;
  readonly stops: readonly Stop[];
}

const KEY = "studio-trail";

export function keepTrail(trail: Trail, storage: Pick<Storage, "setItem"> = window.sessionStorage): void {
  storage.setItem(KEY, JSON.stringify(trail));
}

/** The trail that the tab is on; null if there is none, or none that this version of the page understands. */
export function readTrail(storage: Pick<Storage, "getItem"> = window.sessionStorage): Trail | null {
  try {
    const kept: unknown = JSON.parse(storage.getItem(KEY) ?? "null");
    return isTrail(kept) ? kept : null;
  } catch {
    return null;
  }
}

function isTrail(value: unknown): value is Trail {
  if (typeof value !== "object" || value === null) return false;
  return "stops" in value && Array.isArray(value.stops) && "kind" in value && "from" in value && "title" in value;
}

/** Address of a labelling; the plain one for what everybody labels. */
export function labelAddress(episode: string, about: { tier?: string; rater?: number } = {}): string {
  const query = aboutQuery(about).toString();
  return `/episodes/${episode}${query && `?${query}`}`;
}

/** Address of stop number `at` of a trail; null behind its ends. */
export function addressOf(trail: Trail, at: number): string | null {
  const stop = trail.stops[at];
  if (!stop) return null;
  const query = aboutQuery(stop);
  query.set("trail", String(at));
  return `/episodes/${stop.episode}?${query.toString()}`;
}

function aboutQuery({ tier = "substep", rater = 0 }: { tier?: string; rater?: number }): URLSearchParams {
  const query = new URLSearchParams();
  if (tier !== "substep") query.set("tier", tier);
  if (rater > 0) query.set("rater", String(rater));
  return query;
}

/** The stop that an address names, if it is one of this episode. */
export function stopAt(trail: Trail | null, asked: string | null, episode: string): number | null {
  if (trail === null || asked === null || !/^\d+$/.test(asked)) return null;
  return trail.stops[Number(asked)]?.episode === episode ? Number(asked) : null;
}
