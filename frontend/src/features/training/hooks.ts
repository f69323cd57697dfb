import {
  keepPreviousData,
  queryOptions,
  useMutation,
  useQueries,
  useQuery,
  type UseQueryResult,
} from "@tanstack/react-query";

import { api, ok, type Schema } from "@/api/client";
import { queryClient } from "@/api/queries";
import type { paths } from "@/api/schema";
import { everything, useChosen, usePages, type Ask } from "@/ui/pages";
import { isOver } from "@/ui/StateBadge";

import { extended, nextAfter, POINTS, type Curves, type Range } from "./curves";
import type { RunIn } from "./form";

export type Run = Schema<"RunOut">;
export type RunDetail = Schema<"RunDetail">;

type Filter = Omit<NonNullable<paths["/api/runs/page"]["get"]["parameters"]["query"]>, "cursor" | "limit">;

const page = (query: Filter & Partial<Ask>, signal?: AbortSignal) =>
  ok(api.GET("/api/runs/page", { params: { query }, signal }));

/**
 * The list as it is asked for; those that are not over first unless it says otherwise. Every logged step is an event;
 * asking now and then is for estimates that move with the time, and for a lost event.
 */
export function useRuns(filter: Filter) {
  return usePages<Run>(
    ["run", "list", filter],
    (ask, signal) => page({ sort: "active", ...filter, ...ask }, signal),
    ({ job }) => !isOver(job.state),
  );
}

export function allRuns(filter: Filter): Promise<Run[]> {
  return everything((ask) => page({ ...filter, ...ask }));
}

export function useChosenRuns(ids: readonly string[]) {
  return useChosen<Run>(["run", "list", "chosen"], ids, (id) => page({ id }));
}

function runQuery(id: string) {
  return queryOptions({
    queryKey: ["run", "one", id],
    queryFn: () => ok(api.GET("/api/runs/{run_id}", { params: { path: { run_id: id } } })),
    refetchInterval: (query) => (query.state.data && isOver(query.state.data.job.state) ? false : 3_000),
  });
}

export function useRun(id: string, enabled = true) {
  return useQuery({ ...runQuery(id), enabled });
}

export function useRunDetails(ids: readonly string[]): UseQueryResult<RunDetail>[] {
  return useQueries({ queries: ids.map((id) => runQuery(id)) });
}

function curvesQuery(id: string, attempt: number, live: boolean) {
  const queryKey = ["run", "curves", id];
  return queryOptions({
    queryKey,
    queryFn: async (): Promise<Curves> => {
      const held = queryClient.getQueryData<Curves>(queryKey);
      const after = nextAfter(held, attempt);
      const chunk = await ok(
        api.GET("/api/runs/{run_id}/metrics", {
          params: { path: { run_id: id }, query: { after, points: POINTS } },
        }),
      );
      return held && after > 0 ? extended(held, chunk) : chunk;
    },
    structuralSharing: false,
    refetchInterval: live ? 3_000 : false,
  });
}

/** All curves of a run; grows while the run logs. */
export function useCurves(run: Pick<Run, "id" | "job">) {
  return useQuery(curvesQuery(run.id, run.job.attempt, !isOver(run.job.state)));
}

/** Part of the curves of a run, as fine as there is room for. What was shown before stays until it is there. */
export function useFinerCurves({ id, job }: Pick<Run, "id" | "job">, range: Range | null) {
  const [first, last] = range ?? [1, 1];
  return useQuery({
    // what was logged stays as it is within an attempt: no event of the run makes it stale
    queryKey: ["finer-curves", id, job.attempt, first, last],
    queryFn: ({ signal }) =>
      ok(
        api.GET("/api/runs/{run_id}/metrics", {
          params: { path: { run_id: id }, query: { after: first - 1, until: last, points: POINTS } },
          signal,
        }),
      ),
    enabled: range !== null,
    placeholderData: keepPreviousData,
    staleTime: Infinity,
    gcTime: 60_000,
  });
}

export function useCurvesOf(runs: readonly Pick<Run, "id" | "job">[]): UseQueryResult<Curves>[] {
  return useQueries({
    queries: runs.map((run) => curvesQuery(run.id, run.job.attempt, !isOver(run.job.state))),
  });
}

export function useTrainForm() {
  return useQuery({
    queryKey: ["train-form"],
    queryFn: () => ok(api.GET("/api/training/form")),
    staleTime: Infinity,
  });
}

/** What the server says of a form, asked again whenever it changed; the last answer stays until the next is there. */
export function useRunCheck(body: RunIn, enabled: boolean) {
  return useQuery({
    queryKey: ["run-check", body],
    queryFn: ({ signal }) => ok(api.POST("/api/training/check", { body, signal })),
    enabled,
    placeholderData: keepPreviousData,
    staleTime: 10_000,
    gcTime: 60_000,
  });
}

export function usePreflight() {
  return useMutation({ mutationFn: (body: RunIn) => ok(api.POST("/api/training/preflight", { body })) });
}

export function useStartRun() {
  return useMutation({
    mutationFn: (body: RunIn) => ok(api.POST("/api/runs", { body })),
    onSuccess: (run) => {
      queryClient.setQueryData(["run", "one", run.id], run);
      void queryClient.invalidateQueries({ queryKey: ["run", "list"] });
      void queryClient.invalidateQueries({ queryKey: ["job"] });
    },
  });
}

export async function deleteRun(id: string): Promise<void> {
  await api.DELETE("/api/runs/{run_id}", { params: { path: { run_id: id } } });
  for (const topic of ["run", "checkpoint"]) void queryClient.invalidateQueries({ queryKey: [topic, "list"] });
}
