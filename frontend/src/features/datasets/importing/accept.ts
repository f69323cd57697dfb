import { keepPreviousData, useMutation, useQuery } from "@tanstack/react-query";

import { api, ok, type Schema } from "@/api/client";
import { queryClient } from "@/api/queries";
import type { Dataset } from "@/features/datasets/core/hooks";

export type ImportedEpisode = Schema<"ImportedEpisodeOut">;

/** Labels that files brought and nobody touched; asked again when there are other episodes or labels. */
export function useImportedLabels(dataset: Dataset, enabled: boolean) {
  const { id, episodes, labelled, drafts } = dataset;
  const asking = enabled && episodes > labelled;
  return useQuery({
    queryKey: ["imported-labels", id, episodes, labelled, drafts],
    queryFn: () => ok(api.GET("/api/datasets/{dataset_id}/imported-labels", { params: { path: { dataset_id: id } } })),
    enabled: asking,
    // whoever looks at some of them goes on looking while somebody else labels another episode
    placeholderData: asking ? keepPreviousData : undefined,
    staleTime: 30_000,
  });
}

export function useAcceptImported(datasetId: string) {
  return useMutation({
    mutationFn: (body: Schema<"AcceptImportedIn">) =>
      ok(
        api.POST("/api/datasets/{dataset_id}/imported-labels/accept", {
          params: { path: { dataset_id: datasetId } },
          body,
        }),
      ),
    onSettled: () => {
      for (const topic of ["dataset", "episode", "imported-labels"])
        void queryClient.invalidateQueries({ queryKey: [topic] });
    },
  });
}

/** Where a substep is looked at: the middle of it. */
export function middleOf({ start, end }: { start: number; end: number }): number {
  return Math.floor((start + end - 1) / 2);
}
