import { keepPreviousData, queryOptions, useMutation, useQuery } from "@tanstack/react-query";

import { api, ok, type Schema } from "@/api/client";
import { queryClient } from "@/api/queries";

export type Episode = Schema<"EpisodeDetail">;
export type EpisodeRow = Schema<"EpisodeOut">;

export function useEpisodes(datasetId: string, offset: number, limit: number) {
  return useQuery({
    queryKey: ["episode", "list", datasetId, offset, limit],
    queryFn: () =>
      ok(
        api.GET("/api/datasets/{dataset_id}/episodes", {
          params: { path: { dataset_id: datasetId }, query: { offset, limit } },
        }),
      ),
    placeholderData: keepPreviousData,
  });
}

export function episodeQuery(id: string) {
  return queryOptions({
    queryKey: ["episode", "one", id],
    queryFn: () => ok(api.GET("/api/episodes/{episode_id}", { params: { path: { episode_id: id } } })),
  });
}

/** One episode with what is around it; nothing is asked without an id. */
export function useEpisode(id: string | null | undefined) {
  return useQuery({ ...episodeQuery(id ?? ""), enabled: Boolean(id) });
}

export function useDeleteEpisode() {
  return useMutation({
    mutationFn: (id: string) =>
      api.DELETE("/api/episodes/{episode_id}", { params: { path: { episode_id: id } } }).then(() => undefined),
    onSuccess: () => {
      for (const topic of ["episode", "dataset"]) void queryClient.invalidateQueries({ queryKey: [topic] });
    },
  });
}
