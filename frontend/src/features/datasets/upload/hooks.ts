import { useMutation, useQuery } from "@tanstack/react-query";

import { api, ok } from "@/api/client";
import { queryClient } from "@/api/queries";

import { transfer } from "./transfer";

function stale(): void {
  for (const topic of ["dataset", "episode"]) void queryClient.invalidateQueries({ queryKey: [topic] });
}

export function useUploads(datasetId: string) {
  return useQuery({ queryKey: ["dataset", "uploads", datasetId], queryFn: () => transfer.uploads(datasetId) });
}

export function useUpload(uploadId: string) {
  return useQuery({ queryKey: ["dataset", "upload", uploadId], queryFn: () => transfer.upload(uploadId) });
}

export function useForgetUpload() {
  return useMutation({ mutationFn: (uploadId: string) => transfer.cancelUpload(uploadId), onSuccess: stale });
}

/** Files that the studio forgets, and the rest of their upload stays. */
export function useLeaveOutFiles() {
  return useMutation({
    mutationFn: async (ids: readonly string[]) => {
      for (const id of ids) await transfer.cancel(id);
    },
    onSettled: stale,
  });
}

/** Of a folder: its HDF5 files as episodes, and the rest of it removed. */
export function useTakeEpisodes() {
  return useMutation({
    mutationFn: (uploadId: string) =>
      ok(api.POST("/api/uploads/{upload_id}/episodes", { params: { path: { upload_id: uploadId } } })),
    onSuccess: stale,
  });
}
