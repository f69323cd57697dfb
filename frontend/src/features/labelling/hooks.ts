import { useMutation, useQuery } from "@tanstack/react-query";

import { api, ok, type Schema } from "@/api/client";
import { queryClient } from "@/api/queries";

export type Tier = Schema<"Tier">;
export type Work = Schema<"WorkOut">;
export type WorkState = Schema<"WorkState">;

/** Labels, drafts and what is counted of them changed. */
export function stale(): void {
  for (const topic of ["dataset", "episode"]) void queryClient.invalidateQueries({ queryKey: [topic] });
}

// --- work ------------------------------------------------------------------------------------------------------

/** What this person has open in the dataset. */
export function useMyWork(datasetId: string) {
  return useQuery({
    queryKey: ["dataset", "work", "mine", datasetId],
    queryFn: () => ok(api.GET("/api/work", { params: { query: { dataset_id: datasetId, limit: 500 } } })),
  });
}

export function useTakeWork(datasetId: string) {
  return useMutation({
    mutationFn: (count: number) =>
      ok(
        api.POST("/api/datasets/{dataset_id}/work/next", {
          params: { path: { dataset_id: datasetId } },
          body: { tier: "substep", count },
        }),
      ),
    onSuccess: stale,
  });
}

/** Give episodes back: others get them from "next for me". What was saved stays. */
export function useGiveBack() {
  return useMutation({
    mutationFn: async (work: readonly Work[]) => {
      for (const { episode_id, tier, rater } of work)
        await api.POST("/api/episodes/{episode_id}/annotation/release", {
          params: { path: { episode_id } },
          body: { tier, rater, give_back: true },
        });
    },
    onSettled: stale,
  });
}
