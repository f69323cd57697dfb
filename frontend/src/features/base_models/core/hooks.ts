import { queryOptions, useMutation, useQuery } from "@tanstack/react-query";

import { api, ok, type Schema } from "@/api/client";
import { queryClient, useCan } from "@/api/queries";

export type Model = Schema<"ModelOut">;
export type Candidate = Schema<"ModelCandidate">;

export const modelsQuery = queryOptions({
  queryKey: ["model", "list"],
  queryFn: () => ok(api.GET("/api/models")),
});

export function useModels() {
  return useQuery(modelsQuery);
}

/** What lies below the model roots; operators only, who may register it. */
export function useCandidates() {
  return useQuery({
    queryKey: ["model", "candidates"],
    queryFn: () => ok(api.GET("/api/models/candidates")),
    enabled: useCan("operator"),
    staleTime: 30_000,
  });
}

function changed(): void {
  void queryClient.invalidateQueries({ queryKey: ["model"] });
  void queryClient.invalidateQueries({ queryKey: ["job"] });
}

export function useRegister() {
  return useMutation({
    mutationFn: (body: Schema<"ModelIn">) => ok(api.POST("/api/models", { body })),
    onSuccess: changed,
  });
}

export function useMakeTiny() {
  return useMutation({
    mutationFn: (body: Schema<"TinyModelIn">) => ok(api.POST("/api/models/tiny", { body })),
    onSuccess: changed,
  });
}

export async function forget(id: string): Promise<void> {
  await api.DELETE("/api/models/{model_id}", { params: { path: { model_id: id } } });
  changed();
}
