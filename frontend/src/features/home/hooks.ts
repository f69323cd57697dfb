import { queryOptions, useQueries } from "@tanstack/react-query";

import { api, ok } from "@/api/client";
import { jobsQuery } from "@/features/jobs/core/hooks";
import { modelsQuery } from "@/features/base_models/core/hooks";

import type { Facts } from "./steps";

const datasetsQuery = queryOptions({ queryKey: ["dataset", "list"], queryFn: () => ok(api.GET("/api/datasets")) });
const versionsQuery = queryOptions({ queryKey: ["version", "list"], queryFn: () => ok(api.GET("/api/versions")) });
const runsQuery = queryOptions({ queryKey: ["run", "list"], queryFn: () => ok(api.GET("/api/runs")) });
/** deleted ones too: what they were made for was done all the same */
const checkpointsQuery = queryOptions({
  queryKey: ["checkpoint", "list", { deleted: true }],
  queryFn: () => ok(api.GET("/api/checkpoints", { params: { query: { deleted: true } } })),
});
const evaluationsQuery = queryOptions({
  queryKey: ["evaluation", "list"],
  queryFn: () => ok(api.GET("/api/evaluations")),
});

/** Everything that the first steps are judged by; undefined until all of it is there. */
export function useFacts(): { facts: Facts | undefined; error: Error | null; retry: () => void } {
  const [datasets, versions, models, runs, checkpoints, evaluations, jobs] = useQueries({
    queries: [
      datasetsQuery,
      versionsQuery,
      modelsQuery,
      runsQuery,
      checkpointsQuery,
      evaluationsQuery,
      jobsQuery({ limit: 50 }),
    ],
  });
  const all = [datasets, versions, models, runs, checkpoints, evaluations, jobs];
  const there =
    datasets.data && versions.data && models.data && runs.data && checkpoints.data && evaluations.data && jobs.data;
  return {
    facts: there && {
      datasets: datasets.data,
      versions: versions.data,
      models: models.data,
      runs: runs.data,
      checkpoints: checkpoints.data,
      evaluations: evaluations.data,
      jobs: jobs.data.items,
    },
    error: all.find(({ error }) => error !== null)?.error ?? null,
    retry: () => {
      for (const query of all) if (query.error) void query.refetch();
    },
  };
}
