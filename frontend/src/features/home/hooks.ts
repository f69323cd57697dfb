import { queryOptions, useQueries } from "@tanstack/react-query";

import { api, ok } from "@/api/client";
import { jobsQuery } from "@/features/jobs/core/hooks";
import { modelsQuery } from "@/features/base_models/core/hooks";

import type { Facts } from "./steps";

const NEWEST = 50;
const datasetsQuery = queryOptions({ queryKey: ["dataset", "list"], queryFn: () => ok(api.GET("/api/datasets")) });
const versionsQuery = queryOptions({ queryKey: ["version", "list"], queryFn: () => ok(api.GET("/api/versions")) });
const runsQuery = queryOptions({
  queryKey: ["run", "list", "newest"],
  queryFn: async () => (await ok(api.GET("/api/runs/page", { params: { query: { limit: NEWEST } } }))).items,
});
/** The newest of each stage; deleted ones too: what they were made for was done all the same. */
const checkpointsQuery = queryOptions({
  queryKey: ["checkpoint", "list", "newest"],
  queryFn: async () => {
    const newest = (stage: number) =>
      ok(api.GET("/api/checkpoints/page", { params: { query: { stage, deleted: true, limit: 1 } } }));
    return (await Promise.all([newest(3), newest(2)])).flatMap(({ items }) => items);
  },
});
/** The newest, and the last that came to its end. */
const evaluationsQuery = queryOptions({
  queryKey: ["evaluation", "list", "newest"],
  queryFn: async () => {
    const page = (query: { state?: "done"; limit: number }) =>
      ok(api.GET("/api/evaluations/page", { params: { query } }));
    return (await Promise.all([page({ limit: NEWEST }), page({ state: "done", limit: 1 })])).flatMap(
      ({ items }) => items,
    );
  },
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
