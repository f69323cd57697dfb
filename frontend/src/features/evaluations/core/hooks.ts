import { useMutation, useQuery } from "@tanstack/react-query";

import { api, fetchOk, ok, type Schema } from "@/api/client";
import { queryClient } from "@/api/queries";
import { isOver } from "@/ui/StateBadge";

import type { OpenLoopDetails } from "./report";

export type Evaluation = Schema<"EvaluationOut">;
export type EvaluationDetail = Schema<"EvaluationDetail">;
export type EvaluationIn = Schema<"ClosedLoopIn"> | Schema<"OpenLoopIn">;

export function useEvaluations(filter: { checkpoint_id?: string } = {}) {
  return useQuery({
    queryKey: filter.checkpoint_id === undefined ? ["evaluation", "list"] : ["evaluation", "list", filter],
    queryFn: () => ok(api.GET("/api/evaluations", { params: { query: filter } })),
    refetchInterval: (query) => (query.state.data?.some(({ job }) => !isOver(job.state)) ? 5_000 : false),
  });
}

export function useEvaluation(id: string, enabled = true) {
  return useQuery({
    enabled,
    queryKey: ["evaluation", "one", id],
    queryFn: () => ok(api.GET("/api/evaluations/{evaluation_id}", { params: { path: { evaluation_id: id } } })),
    refetchInterval: (query) => (query.state.data && isOver(query.state.data.job.state) ? false : 2_500),
  });
}

export function useStartEvaluation() {
  return useMutation({
    mutationFn: (body: EvaluationIn) => ok(api.POST("/api/evaluations", { body })),
    onSuccess: (made) => {
      queryClient.setQueryData(["evaluation", "one", made.id], made);
      for (const topic of ["evaluation", "checkpoint"])
        void queryClient.invalidateQueries({ queryKey: [topic, "list"] });
      void queryClient.invalidateQueries({ queryKey: ["job"] });
    },
  });
}

export async function deleteEvaluation(id: string): Promise<void> {
  await api.DELETE("/api/evaluations/{evaluation_id}", { params: { path: { evaluation_id: id } } });
  for (const topic of ["evaluation", "checkpoint"]) void queryClient.invalidateQueries({ queryKey: [topic, "list"] });
}

/** A video, plot or details file of an evaluation. */
export function fileUrl(id: string, name: string): string {
  return `/api/evaluations/${encodeURIComponent(id)}/files/${encodeURIComponent(name)}`;
}

/** What a page draws of one replayed episode; it never changes once it is there. */
export function useDetails(id: string, name: string | null) {
  return useQuery({
    queryKey: ["evaluation-file", id, name],
    queryFn: async ({ signal }) =>
      (await (await fetchOk(fileUrl(id, name ?? ""), { signal })).json()) as OpenLoopDetails,
    enabled: name !== null,
    staleTime: Infinity,
  });
}
