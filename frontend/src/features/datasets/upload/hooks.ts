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

/** Of a folder: its HDF5 files as episodes, and the rest of it removed. */
export function useTakeEpisodes() {
  return useMutation({
    mutationFn: (uploadId: string) =>
      ok(api.POST("/api/uploads/{upload_id}/episodes", { params: { path: { upload_id: uploadId } } })),
    onSuccess: stale,
  });
}
