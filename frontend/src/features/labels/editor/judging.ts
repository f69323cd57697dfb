import { useMutation, useQuery } from "@tanstack/react-query";
import { useSearchParams } from "react-router";

import { api, ok, type Schema } from "@/api/client";
import { queryClient } from "@/api/queries";
import { draftKey, getDraft, publishDraft, type About, type DraftOut } from "./api";
import { stale } from "@/features/labels/core/hooks";
import { notifyDone, notifyError } from "@/ui/confirm";

export type Note = Schema<"NoteOut">;

/** The second person's labels of an episode, where the page was asked to show them (`?beside=1`); null: not. */
export function useSecondLabels(episodeId: string, { tier, rater }: About): DraftOut | null {
  const [search] = useSearchParams();
  const wanted = search.get("beside") === "1" && rater === 0;
  const second: About = { tier, rater: 1 };
  const query = useQuery({
    queryKey: draftKey(episodeId, second),
    queryFn: () => getDraft(episodeId, second),
    enabled: wanted,
  });
  return wanted ? (query.data ?? null) : null;
}

/** How these labels were judged last, in words; null: they were not. */
export function useVerdict(episodeId: string, { tier, rater }: About, draft: DraftOut) {
  const judged = draft.state === "rejected" || draft.state === "approved" || draft.state === "reopened";
  return useQuery({
    queryKey: ["episode", "history", episodeId, tier, rater, draft.state, draft.edit],
    queryFn: () =>
      ok(
        api.GET("/api/episodes/{episode_id}/draft/history", {
          params: { path: { episode_id: episodeId }, query: { tier, rater } },
        }),
      ),
    enabled: judged,
    select: (entries) => entries.find(({ kind }) => kind === "rejected" || kind === "approved") ?? null,
  });
}

/** Send labels that were submitted back, with the reason. */
export function useSendBack(episodeId: string, about: About) {
  return useMutation({
    mutationFn: ({ edit, comment }: { edit: number; comment: string }) =>
      ok(
        api.POST("/api/episodes/{episode_id}/draft/review", {
          params: { path: { episode_id: episodeId } },
          body: { ...about, edit, approve: false, comment, notes: [] },
        }),
      ),
    onSuccess: (draft) => taken(episodeId, about, draft),
    onError: stale,
  });
}

/** Approve and publish at once; then `next`. An approval stands even if the publication fails, which is said. */
export function useApprove(episodeId: string, about: About, next: () => void) {
  return useMutation({
    mutationFn: async (edit: number) => {
      const approved = await ok(
        api.POST("/api/episodes/{episode_id}/draft/review", {
          params: { path: { episode_id: episodeId } },
          body: { ...about, edit, approve: true, comment: "", notes: [] },
        }),
      );
      taken(episodeId, about, approved);
      return publishDraft(episodeId, approved.edit, about);
    },
    onSuccess: (draft) => {
      taken(episodeId, about, draft);
      notifyDone(`Approved and published as revision ${draft.published?.number ?? ""}.`);
      next();
    },
    onError: (error) => {
      stale();
      notifyError(error, "Not published");
    },
  });
}

/** Work on labels that were submitted goes on. */
export function useReopen(episodeId: string, about: About) {
  return useMutation({
    mutationFn: () =>
      ok(
        api.POST("/api/episodes/{episode_id}/draft/reopen", {
          params: { path: { episode_id: episodeId } },
          body: { ...about, comment: "" },
        }),
      ),
    onSuccess: (draft) => taken(episodeId, about, draft),
    onError: stale,
  });
}

function taken(episodeId: string, about: About, draft: DraftOut): void {
  queryClient.setQueryData(draftKey(episodeId, about), draft);
  stale();
}

export function useAddNote(episodeId: string, about: About) {
  return useMutation({
    mutationFn: (note: { edit: number; start: number; end: number; text: string }) =>
      ok(
        api.POST("/api/episodes/{episode_id}/draft/notes", {
          params: { path: { episode_id: episodeId } },
          body: { ...about, ...note },
        }),
      ),
    onSettled: stale,
  });
}

export function useResolveNote() {
  return useMutation({
    mutationFn: ({ id, resolved }: { id: string; resolved: boolean }) =>
      ok(api.PATCH("/api/notes/{note_id}", { params: { path: { note_id: id } }, body: { resolved } })),
    onSettled: stale,
  });
}

export function useDeleteNote() {
  return useMutation({
    mutationFn: (id: string) => ok(api.DELETE("/api/notes/{note_id}", { params: { path: { note_id: id } } })),
    onSettled: stale,
  });
}
