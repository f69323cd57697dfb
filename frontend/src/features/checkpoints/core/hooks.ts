import { keepPreviousData, queryOptions, useQueries, useQuery, type UseQueryResult } from "@tanstack/react-query";

import { api, ok, type Schema } from "@/api/client";
import { queryClient } from "@/api/queries";
import type { paths } from "@/api/schema";
import { everything, usePages, type Ask } from "@/ui/pages";

export type Checkpoint = Schema<"CheckpointOut">;
export type CheckpointDetail = Schema<"CheckpointDetail">;

type Filter = Omit<NonNullable<paths["/api/checkpoints/page"]["get"]["parameters"]["query"]>, "cursor" | "limit">;

const page = (query: Filter & Partial<Ask>, signal?: AbortSignal) =>
  ok(api.GET("/api/checkpoints/page", { params: { query }, signal }));

/** The list as it is asked for, newest first unless it says otherwise. */
export function useCheckpoints(filter: Filter) {
  return usePages<Checkpoint, Schema<"CheckpointPage">>(["checkpoint", "list", filter], (ask, signal) =>
    page({ ...filter, ...ask }, signal),
  );
}

/** All that a run has saved, by step. */
export function useCheckpointsOf(runId: string) {
  return useQuery({
    queryKey: ["checkpoint", "list", "of", runId],
    queryFn: () => everything((ask) => page({ run_id: runId, sort: "step", ...ask })),
  });
}

/** Some that have their files, by words of their names and data, newest first: for choosing one. */
export function useSomeCheckpoints(search: string, limit = 30) {
  return useQuery({
    queryKey: ["checkpoint", "list", "some", search, limit],
    queryFn: ({ signal }) => page({ search: search || undefined, limit }, signal),
    placeholderData: keepPreviousData,
  });
}

export function checkpointQuery(id: string) {
  return queryOptions({
    queryKey: ["checkpoint", "one", id],
    queryFn: () => ok(api.GET("/api/checkpoints/{checkpoint_id}", { params: { path: { checkpoint_id: id } } })),
  });
}

export function useCheckpoint(id: string | null) {
  return useQuery({ ...checkpointQuery(id ?? ""), enabled: id !== null });
}

export function useCheckpointsById(ids: readonly string[]): UseQueryResult<CheckpointDetail>[] {
  return useQueries({ queries: ids.map(checkpointQuery) });
}

export async function deleteCheckpoint(id: string): Promise<void> {
  await api.DELETE("/api/checkpoints/{checkpoint_id}", { params: { path: { checkpoint_id: id } } });
  for (const topic of ["run", "checkpoint"]) void queryClient.invalidateQueries({ queryKey: [topic] });
}

/** Where the archive and its files are downloaded from. */
export function archiveUrl(id: string): string {
  return `/api/checkpoints/${encodeURIComponent(id)}/archive`;
}

export function fileUrl(id: string, name: string): string {
  return `/api/checkpoints/${encodeURIComponent(id)}/files/${encodeURIComponent(name)}`;
}
