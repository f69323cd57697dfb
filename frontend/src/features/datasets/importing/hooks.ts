import { keepPreviousData, useMutation, useQuery } from "@tanstack/react-query";

import { api, ok, type Schema } from "@/api/client";
import { queryClient } from "@/api/queries";
import { useJobs } from "@/features/jobs/core/hooks";

import type { Profile } from "./profile";

export type StoredProfile = Schema<"ProfileOut">;

/** A folder of the server, or one that was uploaded, by its id. */
export type Source = { candidate: string } | { upload: string };

/** One episode of a folder as the profile has it; the last answer stays until the next one is there. */
export function useImportPreview(source: Source, profile: Profile, episode: string | null) {
  return useQuery({
    queryKey: ["import", "preview", source, episode, profile],
    queryFn: () =>
      "upload" in source
        ? ok(
            api.POST("/api/uploads/{upload_id}/import/preview", {
              params: { path: { upload_id: source.upload } },
              body: { profile, episode },
            }),
          )
        : ok(api.POST("/api/import/preview", { body: { candidate_id: source.candidate, profile, episode } })),
    placeholderData: keepPreviousData,
    staleTime: 60_000,
    retry: false,
  });
}

const PROFILES = ["import", "profiles"];

export function useProfiles(enabled: boolean) {
  return useQuery({ queryKey: PROFILES, queryFn: () => ok(api.GET("/api/import/profiles")), enabled });
}

function stale(): void {
  void queryClient.invalidateQueries({ queryKey: PROFILES });
}

export function useSaveProfile() {
  return useMutation({
    mutationFn: ({ id, name, profile }: { id: string | null; name: string; profile: Profile }) =>
      id === null
        ? ok(api.POST("/api/import/profiles", { body: { name, profile } }))
        : ok(
            api.PATCH("/api/import/profiles/{profile_id}", {
              params: { path: { profile_id: id } },
              body: { name, profile },
            }),
          ),
    onSuccess: stale,
  });
}

export function useDeleteProfile() {
  return useMutation({
    mutationFn: (id: string) =>
      api.DELETE("/api/import/profiles/{profile_id}", { params: { path: { profile_id: id } } }).then(() => undefined),
    onSuccess: stale,
  });
}

async function fileOf(file: File): Promise<Schema<"FileIn">> {
  return { name: file.name, text: await file.text() };
}

export function useReadProfile() {
  return useMutation({
    mutationFn: async (file: File) => ok(api.POST("/api/import/read/profile", { body: await fileOf(file) })),
  });
}

export function useReadTable() {
  return useMutation({
    mutationFn: async (file: File) => ok(api.POST("/api/import/read/instructions", { body: await fileOf(file) })),
  });
}

/** Why nothing of the dataset's folders can be imported or removed now; null where it can. */
export function useUnderWay(datasetId: string): string | null {
  const { data } = useJobs({ subject_id: datasetId, kind: "import", active: true });
  return data && data.items.length > 0 ? "An import of this dataset is under way." : null;
}

export function useStartImport(datasetId: string) {
  return useMutation({
    mutationFn: ({ source, profile }: { source: Source; profile: Profile }) =>
      "upload" in source
        ? ok(
            api.POST("/api/uploads/{upload_id}/import", {
              params: { path: { upload_id: source.upload } },
              body: { profile },
            }),
          )
        : ok(
            api.POST("/api/datasets/{dataset_id}/import", {
              params: { path: { dataset_id: datasetId } },
              body: { candidate_id: source.candidate, profile },
            }),
          ),
    onSuccess: () => {
      for (const topic of ["dataset", "episode"]) void queryClient.invalidateQueries({ queryKey: [topic] });
      // until its job is listed the same could be started once more
      return queryClient.invalidateQueries({ queryKey: ["job"] });
    },
  });
}
