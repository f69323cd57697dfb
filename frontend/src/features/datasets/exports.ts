import { keepPreviousData, useMutation, useQuery } from "@tanstack/react-query";

import { api, ok, type Schema } from "@/api/client";
import { queryClient } from "@/api/queries";
import { isOver } from "@/ui/StateBadge";

export type Export = Schema<"ExportOut">;
export type Choice = Schema<"ExportChoice">;
export type Outcome = Schema<"Outcome">;
export type Labelled = Schema<"Labelled">;
export type Destination = Schema<"DestinationOut">;

export function useFormats() {
  return useQuery({
    queryKey: ["export", "formats"],
    queryFn: () => ok(api.GET("/api/exports/formats")),
    staleTime: Infinity,
  });
}

/** Places that an export may go to; the archive is the first. */
export function useDestinations() {
  return useQuery({
    queryKey: ["export", "destinations"],
    queryFn: () => ok(api.GET("/api/exports/destinations")),
    staleTime: Infinity,
  });
}

export function useExports(datasetId: string) {
  return useQuery({
    queryKey: ["dataset", "exports", datasetId],
    queryFn: () => ok(api.GET("/api/datasets/{dataset_id}/exports", { params: { path: { dataset_id: datasetId } } })),
    // a job tells how far it is as an event of its own; what is shown here is asked for again meanwhile
    refetchInterval: (query) => (query.state.data?.some(underWay) ? 1_500 : false),
  });
}

/** How many episodes a choice comes to; the last answer stays until the next one is there. */
export function usePreview(datasetId: string, choice: Choice) {
  return useQuery({
    queryKey: ["dataset", "export-preview", datasetId, choice],
    queryFn: () =>
      ok(
        api.POST("/api/datasets/{dataset_id}/exports/preview", {
          params: { path: { dataset_id: datasetId } },
          body: choice,
        }),
      ),
    placeholderData: keepPreviousData,
  });
}

function stale(): void {
  for (const topic of ["dataset", "job"]) void queryClient.invalidateQueries({ queryKey: [topic] });
}

export function useCreateExport(datasetId: string) {
  return useMutation({
    mutationFn: (body: Schema<"ExportIn">) =>
      ok(api.POST("/api/datasets/{dataset_id}/exports", { params: { path: { dataset_id: datasetId } }, body })),
    onSuccess: stale,
  });
}

export function useDeleteExport(datasetId: string) {
  return useMutation({
    mutationFn: (id: string) =>
      api
        .DELETE("/api/datasets/{dataset_id}/exports/{export_id}", {
          params: { path: { dataset_id: datasetId, export_id: id } },
        })
        .then(() => undefined),
    onSuccess: stale,
  });
}

export function underWay({ job }: Pick<Export, "job">): boolean {
  return job !== null && !isOver(job.state);
}

const LABELLED: Record<Labelled, string> = { any: "", labelled: "labelled", unlabelled: "not labelled" };

/** What was chosen, in a few words: "version 2, labelled, success or failure". */
export function choiceText({ choice, version_number }: Pick<Export, "choice" | "version_number">): string {
  const parts = [
    version_number === null ? "" : `version ${version_number}`,
    LABELLED[choice.labels],
    (choice.outcomes ?? []).join(" or "),
    choice.published_by ? "of one person" : "",
    (choice.tags ?? []).join(", "),
  ].filter(Boolean);
  return parts.length === 0 ? "all episodes" : parts.join(", ");
}

/** "An archive to download", or where else it goes. */
export function destinationText({ kind, name }: Pick<Destination, "kind" | "name">): string {
  if (kind === "archive") return "An archive to download";
  return kind === "folder" ? `Folder ${name ?? ""}` : `S3: ${name ?? ""}`;
}

/** Where the archive comes from. */
export function archiveUrl({ dataset_id, id }: Pick<Export, "dataset_id" | "id">): string {
  return `/api/datasets/${dataset_id}/exports/${id}/archive`;
}
