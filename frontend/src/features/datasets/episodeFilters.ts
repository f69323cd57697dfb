import type { EpisodeFilter } from "@/features/episodes/core/hooks";

export const LABELS = ["unlabelled", "draft", "published"] as const;
export const OUTCOMES = { yes: "success", no: "failure", unknown: "unknown" } as const;
/** Filters that are not seen at first. */
export const MORE = ["who", "tag", "min", "max", "since", "until"] as const;

/** What the address says of a list of episodes, for the server; what makes no sense there is left out. */
export function episodeFilterOf(search: URLSearchParams, words: string): EpisodeFilter {
  const said = (name: string) => search.get(name) ?? undefined;
  const steps = (name: string) => {
    const text = said(name);
    return text !== undefined && /^\d{1,9}$/.test(text) ? Number(text) : undefined;
  };
  const outcome = said("outcome");
  return {
    search: words || undefined,
    label_state: LABELS.find((each) => each === said("labels")),
    success: outcome !== undefined && Object.hasOwn(OUTCOMES, outcome) ? (outcome as keyof typeof OUTCOMES) : undefined,
    person: said("who"),
    tag: said("tag"),
    min_steps: steps("min"),
    max_steps: steps("max"),
    since: moment(said("since"), "00:00:00.000"),
    until: moment(said("until"), "23:59:59.999"),
  };
}

/** A day of the reader's zone at that time, as the server takes it. */
function moment(day: string | undefined, time: string): string | undefined {
  const when = new Date(`${day ?? ""}T${time}`);
  return Number.isNaN(when.getTime()) ? undefined : when.toISOString();
}
