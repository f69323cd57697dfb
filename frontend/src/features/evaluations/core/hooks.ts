import { useMutation, useQuery } from "@tanstack/react-query";

import { api, fetchOk, ok, type Schema } from "@/api/client";
import { queryClient } from "@/api/queries";
import type { paths } from "@/api/schema";
import { everything, useChosen, usePages, type Ask } from "@/ui/pages";
import { isOver } from "@/ui/StateBadge";

import type { OpenLoopDetails } from "./report";

export type Evaluation = Schema<"EvaluationOut">;
export type EvaluationDetail = Schema<"EvaluationDetail">;
export type EvaluationIn = Schema<"ClosedLoopIn"> | Schema<"OpenLoopIn">;

type Filter = Omit<NonNullable<paths["/api/evaluations/page"]["get"]["parameters"]["query"]>, "cursor" | "limit">;

const page = (query: Filter & Partial<Ask>, signal?: AbortSignal) =>
  ok(api.GET("/api/evaluations/page", { params: { query }, signal }));
const live = ({ job }: Evaluation) => !isOver(job.state);

/** The list as it is asked for; those that are not over first unless it says otherwise. */
export function useEvaluations(filter: Filter) {
  const asked: Filter = { sort: "active", ...filter };
  return usePages<Evaluation>(["evaluation", "list", asked], (ask, signal) => page({ ...asked, ...ask }, signal), live);
}

/** All of a checkpoint, newest first. */
export function useEvaluationsOf(checkpointId: string) {
  return useQuery({
    queryKey: ["evaluation", "list", "of", checkpointId],
    queryFn: () => everything((ask) => page({ checkpoint_id: checkpointId, ...ask })),
    refetchInterval: (query) => (query.state.data?.some(live) ? 5_000 : false),
  });
}

export function useChosenEvaluations(ids: readonly string[]) {
  return useChosen<Evaluation>(["evaluation", "list", "chosen"], ids, (id) => page({ id }));
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
