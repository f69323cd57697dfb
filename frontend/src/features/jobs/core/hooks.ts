import { keepPreviousData, queryOptions, useMutation, useQuery } from "@tanstack/react-query";

import { api, ok, type Schema } from "@/api/client";
import { queryClient } from "@/api/queries";
import type { paths } from "@/api/schema";
import { notifyError } from "@/ui/confirm";
import { usePages } from "@/ui/pages";
import { isOver } from "@/ui/StateBadge";

export type Job = Schema<"JobOut">;
export type JobKind = Schema<"JobKind">;

export interface JobFilter {
  kind?: JobKind;
  subject_id?: string;
  active?: boolean;
  limit?: number;
}

export function jobsQuery(filter: JobFilter) {
  return queryOptions({
    queryKey: ["job", "list", filter],
    queryFn: () => ok(api.GET("/api/jobs", { params: { query: filter } })),
    placeholderData: keepPreviousData,
    // progress is an event too; this is for the time that passes and for a lost event
    refetchInterval: (query) => (query.state.data?.items.some((job) => !isOver(job.state)) ? 3_000 : false),
  });
}

type Paged = Omit<NonNullable<paths["/api/jobs/page"]["get"]["parameters"]["query"]>, "cursor" | "limit">;

/** The list as it is asked for, newest first unless it says otherwise. */
export function useJobPages(filter: Paged) {
  return usePages<Job>(
    ["job", "pages", filter],
    (ask, signal) => ok(api.GET("/api/jobs/page", { params: { query: { ...filter, ...ask } }, signal })),
    (job) => !isOver(job.state),
  );
}

/** The newest of them. */
export function useJobs(filter: JobFilter) {
  return useQuery(jobsQuery(filter));
}

export function useJob(id: string, enabled = true) {
  return useQuery({
    enabled,
    queryKey: ["job", "one", id],
    queryFn: () => ok(api.GET("/api/jobs/{job_id}", { params: { path: { job_id: id } } })),
    refetchInterval: (query) => (query.state.data && isOver(query.state.data.state) ? false : 2_000),
  });
}

function changed(job: Job): void {
  queryClient.setQueryData(["job", "one", job.id], job);
  for (const topic of ["job", "run", "evaluation", "dataset", "model"])
    void queryClient.invalidateQueries({ queryKey: [topic] });
}

export function useCancelJob() {
  return useMutation({
    mutationFn: (id: string) => ok(api.POST("/api/jobs/{job_id}/cancel", { params: { path: { job_id: id } } })),
    onSuccess: changed,
    onError: (error) => notifyError(error, "It could not be cancelled"),
  });
}

export function useResumeJob() {
  return useMutation({
    mutationFn: (id: string) => ok(api.POST("/api/jobs/{job_id}/resume", { params: { path: { job_id: id } } })),
    onSuccess: changed,
    onError: (error) => notifyError(error, "It could not be resumed"),
  });
}
