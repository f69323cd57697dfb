import { keepPreviousData, skipToken, useMutation, useQuery } from "@tanstack/react-query";

import { api, ok, type Schema } from "@/api/client";
import { queryClient } from "@/api/queries";
import { isOver } from "@/ui/StateBadge";

export type Edit = Schema<"EditOut">;
export type EditIn = Schema<"EditIn">;
export type Planned = Schema<"PlannedOut">;
export type Preview = Schema<"EditPreview">;
export type Change = Schema<"ChangeOut">;
export type Facts = Schema<"FactsIn">;

function stale(): void {
  for (const topic of ["dataset", "episode", "version", "job"])
    void queryClient.invalidateQueries({ queryKey: [topic] });
}

const at = (datasetId: string) => ({ params: { path: { dataset_id: datasetId } } });

export function useEdits(datasetId: string) {
  return useQuery({
    queryKey: ["dataset", "edits", datasetId],
    queryFn: () => ok(api.GET("/api/datasets/{dataset_id}/edits", at(datasetId))),
    refetchInterval: (query) => (query.state.data?.some(underWay) ? 1_500 : false),
  });
}

export function underWay({ job, finished_at }: Pick<Edit, "job" | "finished_at">): boolean {
  return finished_at === null && job !== null && !isOver(job.state);
}

/** A preview is of now: another dialog asks again, and nothing but another question does while one is open. */
const ASKED_EACH_TIME = { staleTime: 0, gcTime: 60_000, refetchOnWindowFocus: false } as const;

/** What an edit would make; null asks nothing. The last answer stays until the next one is there. */
export function usePreview(datasetId: string, body: EditIn | null) {
  return useQuery({
    // not under "dataset": it is long to work out, and every label that somebody makes would ask for it anew
    queryKey: ["edit-preview", datasetId, body],
    queryFn:
      body === null
        ? skipToken
        : ({ signal }) => ok(api.POST("/api/datasets/{dataset_id}/edits/preview", { ...at(datasetId), body, signal })),
    placeholderData: keepPreviousData,
    retry: false,
    ...ASKED_EACH_TIME,
  });
}

export function useCreateEdit(datasetId: string) {
  return useMutation({
    mutationFn: (body: EditIn) => ok(api.POST("/api/datasets/{dataset_id}/edits", { ...at(datasetId), body })),
    onSuccess: stale,
  });
}

export function useUndoEdit(datasetId: string) {
  return useMutation({
    mutationFn: (id: string) =>
      ok(
        api.POST("/api/datasets/{dataset_id}/edits/{edit_id}/undo", {
          params: { path: { dataset_id: datasetId, edit_id: id } },
        }),
      ),
    onSuccess: stale,
  });
}

/** How many episodes new facts would change. */
export function useFactsPreview(datasetId: string, body: Facts | null) {
  return useQuery({
    queryKey: ["edit-preview", "facts", datasetId, body],
    queryFn:
      body === null
        ? skipToken
        : ({ signal }) =>
            ok(
              api.POST("/api/datasets/{dataset_id}/facts", {
                ...at(datasetId),
                body: { ...body, preview: true },
                signal,
              }),
            ),
    retry: false,
    ...ASKED_EACH_TIME,
  });
}

export function useChangeFacts(datasetId: string) {
  return useMutation({
    mutationFn: (body: Facts) => ok(api.POST("/api/datasets/{dataset_id}/facts", { ...at(datasetId), body })),
    onSuccess: stale,
  });
}
