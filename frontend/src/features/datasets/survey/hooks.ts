import { useMutation, useQuery } from "@tanstack/react-query";

import { api, ok, type Schema } from "@/api/client";
import { queryClient } from "@/api/queries";

export type Survey = Schema<"SurveyOut">;
export type Found = NonNullable<Survey["survey"]>;
export type SurveyedEpisode = Schema<"SurveyedEpisode">;

export function useSurvey(datasetId: string) {
  return useQuery({
    queryKey: ["dataset", "survey", datasetId],
    queryFn: () => ok(api.GET("/api/datasets/{dataset_id}/survey", { params: { path: { dataset_id: datasetId } } })),
  });
}

export function useMeasure(datasetId: string) {
  return useMutation({
    mutationFn: () =>
      ok(api.POST("/api/datasets/{dataset_id}/survey", { params: { path: { dataset_id: datasetId } } })),
    onSuccess: () => void queryClient.invalidateQueries({ queryKey: ["job"] }),
  });
}
