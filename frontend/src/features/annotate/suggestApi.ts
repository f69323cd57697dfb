/** Boundary candidates and proposed labellings of the server (/api/episodes/{id}/candidates and /suggestions). */

import { queryOptions } from "@tanstack/react-query";

import { ApiError, fetchOk } from "@/api/client";

import type { Proposal } from "./proposals";
import { NO_SUGGESTIONS, type Candidate, type Suggestions } from "./suggestions";

interface BoundaryOut {
  step: number;
  confidence: number;
  parts: { source: string; arm: string | null }[];
}

interface SuggestionOut {
  source: string;
  state: "running" | "ready" | "failed";
  segments: { start: number; end: number; text: string; confidence: number }[];
  report: { mismatch?: string | null };
  error: string | null;
}

/** Of the motion and of marks, which never change: asked once. A server without them has none. */
export function suggestionsQuery(episodeId: string) {
  return queryOptions({
    queryKey: ["candidates", episodeId],
    queryFn: async (): Promise<Suggestions> => {
      try {
        const answer = await fetchOk(`/api/episodes/${episodeId}/candidates`);
        return { candidates: ((await answer.json()) as { boundaries: BoundaryOut[] }).boundaries.map(candidate) };
      } catch (error) {
        if (error instanceof ApiError && error.status === 404) return NO_SUGGESTIONS;
        throw error;
      }
    },
    staleTime: Infinity,
  });
}

export function candidate({ step, confidence, parts }: BoundaryOut): Candidate {
  const names = parts.map(({ source, arm }) => (arm === null ? source : `${arm} ${source}`));
  return { step, confidence, source: [...new Set(names)].join(", ") };
}

export interface Proposed {
  readonly proposals: readonly Proposal[];
  /** what does not fit, in words */
  readonly mismatch: string | null;
}

/**
 * similar: labels of the episodes that move most alike; template: the dataset's usual sequence on the candidates. null:
 * the server has nothing to go by, or makes no such proposals.
 */
export async function propose(episodeId: string, source: "similar" | "template"): Promise<Proposed | null> {
  let made: SuggestionOut;
  try {
    const answer = await fetchOk(`/api/episodes/${episodeId}/suggestions`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ source }),
    });
    made = (await answer.json()) as SuggestionOut;
  } catch (error) {
    if (error instanceof ApiError && [404, 405, 422].includes(error.status)) return null;
    throw error;
  }
  if (made.state === "failed") throw new Error(made.error ?? "The proposal failed.");
  if (made.segments.length === 0) return null;
  return {
    proposals: made.segments.map((segment) => ({ ...segment, source: made.source })),
    mismatch: made.report.mismatch ?? null,
  };
}
