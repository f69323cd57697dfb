import { queryOptions, useMutation, useQuery } from "@tanstack/react-query";

import { api, ok, type Schema } from "@/api/client";
import { queryClient } from "@/api/queries";
import type { paths } from "@/api/schema";
import { everything, useChosen, usePages } from "@/ui/pages";

export type Episode = Schema<"EpisodeDetail">;
export type EpisodeRow = Schema<"EpisodeOut">;

type Asked = NonNullable<paths["/api/datasets/{dataset_id}/episodes/page"]["get"]["parameters"]["query"]>;
export type EpisodeFilter = Omit<Asked, "cursor" | "limit">;

const page = (datasetId: string, query: Asked, signal?: AbortSignal) =>
  ok(
    api.GET("/api/datasets/{dataset_id}/episodes/page", { params: { path: { dataset_id: datasetId }, query }, signal }),
  );

/** A dataset's list as it is asked for, by number unless it says otherwise. */
export function useEpisodes(datasetId: string, filter: EpisodeFilter) {
  return usePages<EpisodeRow>(["episode", "list", datasetId, filter], (ask, signal) =>
    page(datasetId, { ...filter, ...ask }, signal),
  );
}

export function allEpisodes(datasetId: string, filter: EpisodeFilter): Promise<EpisodeRow[]> {
  return everything((ask) => page(datasetId, { ...filter, ...ask }));
}

export function useChosenEpisodes(datasetId: string, ids: readonly string[]) {
  return useChosen<EpisodeRow>(["episode", "list", "chosen", datasetId], ids, (id) => page(datasetId, { id }));
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
