import { useQuery } from "@tanstack/react-query";

import { api, ok } from "@/api/client";
import type { Work } from "@/features/labels/core/hooks";

/** What was submitted and waits for somebody else's look, the longest waiting first. */
export function useReviewQueue(datasetId: string) {
  return useQuery({
    queryKey: ["dataset", "work", "review", datasetId],
    queryFn: () =>
      ok(api.GET("/api/work", { params: { query: { queue: "review", dataset_id: datasetId, limit: 500 } } })),
    select: ({ items, total }) => ({ items: [...items].sort(bySubmission), total }),
  });
}

function bySubmission(one: Work, other: Work): number {
  return (one.submitted_at ?? "").localeCompare(other.submitted_at ?? "") || one.number - other.number;
}
