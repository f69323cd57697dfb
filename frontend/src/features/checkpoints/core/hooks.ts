import { useQueries, useQuery, type UseQueryResult } from "@tanstack/react-query";

import { api, ok, type Schema } from "@/api/client";
import { queryClient } from "@/api/queries";

export type Checkpoint = Schema<"CheckpointOut">;
export type CheckpointDetail = Schema<"CheckpointDetail">;

interface Filter {
  run_id?: string;
  /** those whose files are gone too */
  deleted?: boolean;
}

export function useCheckpoints(filter: Filter = {}) {
  return useQuery({
    queryKey: ["checkpoint", "list", filter],
    queryFn: () => ok(api.GET("/api/checkpoints", { params: { query: filter } })),
  });
}

function checkpointQuery(id: string) {
  return {
    queryKey: ["checkpoint", "one", id],
    queryFn: () => ok(api.GET("/api/checkpoints/{checkpoint_id}", { params: { path: { checkpoint_id: id } } })),
  };
}

export function useCheckpoint(id: string) {
  return useQuery(checkpointQuery(id));
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
