import { useMutation, useQuery } from "@tanstack/react-query";

import { api, ok, type Schema } from "@/api/client";
import { queryClient } from "@/api/queries";

export type Dataset = Schema<"DatasetOut">;
export type Version = Schema<"VersionOut">;
export type DemoIn = Schema<"DemoIn">;

export function useDatasets() {
  return useQuery({ queryKey: ["dataset", "list"], queryFn: () => ok(api.GET("/api/datasets")) });
}

export function useDataset(id: string) {
  return useQuery({
    queryKey: ["dataset", "one", id],
    queryFn: () => ok(api.GET("/api/datasets/{dataset_id}", { params: { path: { dataset_id: id } } })),
  });
}

export function useVersions(datasetId: string) {
  return useQuery({
    queryKey: ["version", "list", datasetId],
    queryFn: () => ok(api.GET("/api/datasets/{dataset_id}/versions", { params: { path: { dataset_id: datasetId } } })),
  });
}

export function useImportCandidates(enabled: boolean) {
  return useQuery({
    queryKey: ["import", "candidates"],
    queryFn: () => ok(api.GET("/api/import/candidates")),
    enabled,
  });
}

function stale(): void {
  for (const topic of ["dataset", "version", "episode", "job"])
    void queryClient.invalidateQueries({ queryKey: [topic] });
}

export function useCreateDataset() {
  return useMutation({
    mutationFn: (body: Schema<"DatasetIn">) => ok(api.POST("/api/datasets", { body })),
    onSuccess: stale,
  });
}

export function useChangeDataset(id: string) {
  return useMutation({
    mutationFn: (body: Schema<"DatasetPatch">) =>
      ok(api.PATCH("/api/datasets/{dataset_id}", { params: { path: { dataset_id: id } }, body })),
    onSuccess: (dataset) => {
      queryClient.setQueryData(["dataset", "one", id], dataset);
      stale();
    },
  });
}

export function useDeleteDataset() {
  return useMutation({
    mutationFn: (id: string) =>
      api.DELETE("/api/datasets/{dataset_id}", { params: { path: { dataset_id: id } } }).then(() => undefined),
    onSuccess: stale,
  });
}

export function useRecordDemo() {
  return useMutation({
    mutationFn: (body: DemoIn) => ok(api.POST("/api/datasets/demo", { body })),
    onSuccess: stale,
  });
}

export function useCreateVersion(datasetId: string) {
  return useMutation({
    mutationFn: (body: Schema<"VersionIn">) =>
      ok(api.POST("/api/datasets/{dataset_id}/versions", { params: { path: { dataset_id: datasetId } }, body })),
    onSuccess: stale,
  });
}
