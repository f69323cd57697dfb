/** Boundary candidates and proposed labellings of the server (/api/episodes/{id}/candidates and /proposals). */

import { queryOptions } from "@tanstack/react-query";

import { api, ApiError, ok, type Schema } from "@/api/client";

import type { Candidate } from "./candidates";
import type { Proposal } from "./proposals";
import type { Segment } from "@/features/labels/core/timeline";

/** Of the motion and of marks, which never change: asked once. */
export function candidatesQuery(episodeId: string) {
  return queryOptions({
    queryKey: ["candidates", episodeId],
    queryFn: async (): Promise<readonly Candidate[]> => {
      const path = { episode_id: episodeId };
      const { boundaries } = await ok(api.GET("/api/episodes/{episode_id}/candidates", { params: { path } }));
      return boundaries.map(candidate);
    },
    staleTime: Infinity,
  });
}

export function candidate({ step, confidence, parts }: Schema<"BoundaryOut">): Candidate {
  const names = parts.map(({ source, arm }) => (arm === null ? source : `${arm} ${source}`));
  return { step, confidence, source: [...new Set(names)].join(", ") };
}

export interface Proposed {
  readonly id: string;
  readonly source: Schema<"ProposalSource">;
  readonly proposals: readonly Proposal[];
  /** what does not fit, in words */
  readonly mismatch: string | null;
}

/**
 * similar: labels of the episodes that move most alike; template: the dataset's usual sequence on the candidates. null:
 * the server has nothing to go by.
 */
export async function propose(episodeId: string, source: "similar" | "template"): Promise<Proposed | null> {
  let made: Schema<"ProposalOut">;
  try {
    const body = source === "similar" ? { source, neighbours: NEIGHBOURS } : { source };
    made = await ok(
      api.POST("/api/episodes/{episode_id}/proposals", { params: { path: { episode_id: episodeId } }, body }),
    );
  } catch (error) {
    if (error instanceof ApiError && error.status === 422) return null;
    throw error;
  }
  return proposed(made);
}

const NEIGHBOURS = 5;

function proposed(made: Schema<"ProposalOut">): Proposed | null {
  if (made.state === "failed") throw new Error(made.error ?? "The proposal failed.");
  if (made.segments.length === 0) return null;
  const { mismatch } = made.report;
  return {
    id: made.id,
    source: made.source,
    proposals: made.segments.map((segment) => ({ ...segment, source: made.source })),
    mismatch: typeof mismatch === "string" ? mismatch : null,
  };
}

/** Of each camera, spread over the episode. */
const FRAMES = 48;
const POLL_MS = 1_000;

/** Show the vision-language model frames of the episode, and wait for what it proposes. */
export async function askVision(
  episodeId: string,
  cameras: string[] | null,
  signal: AbortSignal,
): Promise<Proposed | null> {
  const params = { path: { episode_id: episodeId } };
  let made = await ok(
    api.POST("/api/episodes/{episode_id}/proposals", {
      params,
      body: { source: "vision", frames: FRAMES, cameras },
      signal,
    }),
  );
  while (made.state === "running") {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    const newest = await ok(api.GET("/api/episodes/{episode_id}/proposals", { params, signal }));
    const mine = newest.find(({ source }) => source === "vision");
    if (!mine) throw new Error("The question is gone: the episode was deleted meanwhile.");
    made = mine;
  }
  return proposed(made);
}

/** What became of proposals: taken as they were, with another extent, or not at all. */
export function verdictsOf({ id, source, proposals }: Proposed, segments: readonly Segment[]): Schema<"VerdictIn">[] {
  return proposals.map(({ start, end, text, confidence }) => {
    const same = segments.filter((each) => each.text === text && each.start < end && each.end > start);
    const exact = same.some((each) => each.start === start && each.end === end);
    const verdict = exact ? "accepted" : same.length > 0 ? "edited" : "rejected";
    return { proposal_id: id, source, verdict, start, end, text, confidence };
  });
}

/** For the statistics; a failure matters to nobody who labels. */
export async function judge(episodeId: string, verdicts: readonly Schema<"VerdictIn">[]): Promise<void> {
  if (verdicts.length === 0) return;
  await api
    .POST("/api/episodes/{episode_id}/proposals/verdicts", {
      params: { path: { episode_id: episodeId } },
      body: { verdicts: [...verdicts] },
    })
    .catch(() => undefined);
}
