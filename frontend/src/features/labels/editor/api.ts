import { api, ApiError, fetchOk, messageOf, ok, type Schema } from "@/api/client";

import { onceLookedAt } from "./lookedAt";
import type { Failure, Stored } from "./autosave";
import { motionOf, type Motion } from "./curves";
import { factsOf, type Draft } from "./editor";
import type { PackRequest } from "./frames";

export type DraftOut = Schema<"DraftOut">;
export type Revision = Schema<"RevisionOut">;

/** Rows of a proxy: enough to see what happens, a quarter of the bytes of 480. */
export const PROXY_ROWS = 240;

export function storedOf({ edit, segments, ...facts }: Draft & { edit: number }): Stored<Draft> {
  return { edit, document: { segments, ...factsOf(facts) } };
}

/** Whose labels of an episode, and of which tier. rater 1: a second person's, who does not see the first's. */
export interface About {
  readonly tier: Schema<"Tier">;
  readonly rater: number;
}

export const PUBLISHED: About = { tier: "substep", rater: 0 };

export function draftKey(episodeId: string, { tier, rater }: About = PUBLISHED): unknown[] {
  return ["episode", "draft", episodeId, tier, rater];
}

/** A pack of an episode; proxies are smaller. Rejects with ApiError. */
export async function fetchPack(episodeId: string, wanted: PackRequest, signal: AbortSignal) {
  const { start, count, stride, quality } = wanted;
  const query = `start=${start}&count=${count}${stride > 1 ? `&stride=${stride}` : ""}`;
  const height = quality === "proxy" ? `&height=${PROXY_ROWS}` : "";
  const response = await fetchOk(`/api/episodes/${episodeId}/pack?${query}${height}`, { signal });
  return response.arrayBuffer();
}

export function decodeJpeg(jpeg: Uint8Array<ArrayBuffer>): Promise<ImageBitmap> {
  return createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
}

/** lease: of the claim that the page has at that moment. */
export function saveDraft(episodeId: string, { tier, rater }: About, lease: { current: string | null }) {
  return async (draft: Draft, edit: number, leaving: boolean): Promise<Stored<Draft>> => {
    // what is said of the episode as a whole belongs to its substeps
    const body = tier === "substep" ? draft : { segments: draft.segments };
    const response = await fetchOk(`/api/episodes/${episodeId}/draft?tier=${tier}&rater=${rater}`, {
      method: "PUT",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ edit, lease: lease.current, ...body }),
      keepalive: leaving,
    });
    return storedOf((await response.json()) as DraftOut);
  };
}

/** What a failed save means: somebody else was faster, the server is away, or it says no. */
export function saveOutcome(error: unknown): Failure<Draft> {
  const message = messageOf(error);
  if (!(error instanceof ApiError)) return { kind: "offline", message };
  if (error.status === 409 && isDraft(error.detail)) return { kind: "conflict", stored: storedOf(error.detail) };
  const passes = error.status === 0 || error.status >= 500 || error.status === 429 || error.status === 401;
  return { kind: passes ? "offline" : "refused", message };
}

export function isDraft(value: unknown): value is DraftOut {
  return typeof value === "object" && value !== null && "edit" in value && "segments" in value;
}

export function getDraft(episodeId: string, { tier, rater }: About = PUBLISHED): Promise<DraftOut> {
  return ok(
    api.GET("/api/episodes/{episode_id}/draft", {
      params: { path: { episode_id: episodeId }, query: { tier, rater } },
    }),
  );
}

/** Asks first whether somebody looked at substeps that a script or a file brought. */
export function publishDraft(episodeId: string, edit: number, { tier }: About): Promise<DraftOut> {
  return onceLookedAt((looked_at) =>
    ok(
      api.POST("/api/episodes/{episode_id}/publish", {
        params: { path: { episode_id: episodeId } },
        body: { edit, tier, looked_at },
      }),
    ),
  );
}

/** Hand the draft in for review. */
export function submitDraft(episodeId: string, edit: number, { tier, rater }: About): Promise<DraftOut> {
  return ok(
    api.POST("/api/episodes/{episode_id}/draft/submit", {
      params: { path: { episode_id: episodeId } },
      body: { edit, tier, rater },
    }),
  );
}

/** Make the labels of an older revision the newest one again. */
export function rollBack(episodeId: string, revisionId: string, edit: number): Promise<DraftOut> {
  return ok(
    api.POST("/api/episodes/{episode_id}/rollback", {
      params: { path: { episode_id: episodeId } },
      body: { revision_id: revisionId, edit },
    }),
  );
}

export function getLabelling(datasetId: string): Promise<Schema<"Labelling">> {
  return ok(api.GET("/api/datasets/{dataset_id}/labelling", { params: { path: { dataset_id: datasetId } } }));
}

export function getRevisions(episodeId: string, { tier }: About): Promise<Revision[]> {
  return ok(
    api.GET("/api/episodes/{episode_id}/revisions", {
      params: { path: { episode_id: episodeId }, query: { tier } },
    }),
  );
}

export async function getMotion(episodeId: string): Promise<Motion> {
  const response = await fetchOk(`/api/episodes/${episodeId}/motion?binary=true`);
  return motionOf(await response.arrayBuffer());
}
