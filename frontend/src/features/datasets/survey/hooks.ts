import { useMutation, useQuery } from "@tanstack/react-query";

import { api, ok, type Schema } from "@/api/client";
import { queryClient } from "@/api/queries";
import { useJobs } from "@/features/jobs/core/hooks";

export type Survey = Schema<"SurveyOut">;
export type Found = NonNullable<Survey["survey"]>;
export type SurveyedEpisode = Schema<"SurveyedEpisode">;

export function useSurvey(datasetId: string) {
  return useQuery({
    queryKey: ["dataset", "survey", datasetId],
    queryFn: () => ok(api.GET("/api/datasets/{dataset_id}/survey", { params: { path: { dataset_id: datasetId } } })),
  });
}

/** Why no other measuring may begin; null while none is under way. */
export function useMeasuring(datasetId: string): string | null {
  const { data } = useJobs({ subject_id: datasetId, kind: "measure", active: true });
  return data && data.items.length > 0 ? "They are being measured." : null;
}

export function useMeasure(datasetId: string) {
  return useMutation({
    mutationFn: () =>
      ok(api.POST("/api/datasets/{dataset_id}/survey", { params: { path: { dataset_id: datasetId } } })),
    onSuccess: () => void queryClient.invalidateQueries({ queryKey: ["job"] }),
  });
}
