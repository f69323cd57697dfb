import { keepPreviousData, useMutation, useQuery } from "@tanstack/react-query";

import { api, ok, type Schema } from "@/api/client";
import { queryClient } from "@/api/queries";

export type Tier = Schema<"Tier">;
export type Work = Schema<"WorkOut">;
export type WorkState = Schema<"WorkState">;

/** Labels, drafts and what is counted of them changed. */
export function stale(): void {
  for (const topic of ["dataset", "episode"]) void queryClient.invalidateQueries({ queryKey: [topic] });
}

// --- work ------------------------------------------------------------------------------------------------------

/** What this person has open in the dataset. */
export function useMyWork(datasetId: string) {
  return useQuery({
    queryKey: ["dataset", "work", "mine", datasetId],
    queryFn: () => ok(api.GET("/api/work", { params: { query: { dataset_id: datasetId, limit: 500 } } })),
  });
}

export function useTakeWork(datasetId: string) {
  return useMutation({
    mutationFn: (count: number) =>
      ok(
        api.POST("/api/datasets/{dataset_id}/work/next", {
          params: { path: { dataset_id: datasetId } },
          body: { tier: "substep", count },
        }),
      ),
    onSuccess: stale,
  });
}

/** Give episodes back: others get them from "next for me". What was saved stays. */
export function useGiveBack() {
  return useMutation({
    mutationFn: async (work: readonly Work[]) => {
      for (const { episode_id, tier, rater } of work)
        await api.POST("/api/episodes/{episode_id}/draft/release", {
          params: { path: { episode_id } },
          body: { tier, rater, give_back: true },
        });
    },
    onSettled: stale,
  });
}

interface Slice {
  state: WorkState | null;
  /** the person who has it */
  who: string | null;
  offset: number;
  limit: number;
}

/** All episodes of the dataset with who has them, also those that nobody has. */
export function useEverybodysWork(datasetId: string, { state, who, offset, limit }: Slice) {
  return useQuery({
    queryKey: ["dataset", "work", "all", datasetId, state, who, offset],
    queryFn: () =>
      ok(
        api.GET("/api/work", {
          params: {
            query: {
              queue: "all",
              dataset_id: datasetId,
              offset,
              limit,
              ...(state && { state }),
              ...(who && { assignee: who }),
            },
          },
        }),
      ),
    placeholderData: keepPreviousData,
  });
}

/**
 * Give pieces of work to somebody (`to` null: take them back). `second`: as second, blind labels. Resolves to what
 * could not be given, with reasons.
 */
export function useAssign(datasetId: string) {
  return useMutation({
    mutationFn: async ({ work, to, second }: { work: readonly Work[]; to: string | null; second: boolean }) => {
      const skipped: Schema<"SkippedOut">[] = [];
      for (const rater of [0, 1]) {
        const ids = work.filter((one) => (second ? 1 : one.rater) === rater).map(({ episode_id }) => episode_id);
        if (ids.length === 0) continue;
        const answer = await ok(
          api.POST("/api/datasets/{dataset_id}/work/assign", {
            params: { path: { dataset_id: datasetId } },
            body: { tier: "substep", rater, user_id: to, episode_ids: [...new Set(ids)] },
          }),
        );
        skipped.push(...answer.skipped);
      }
      return skipped;
    },
    onSettled: stale,
  });
}

// --- vocabulary and settings -----------------------------------------------------------------------------------

export type Vocabulary = Schema<"VocabularyOut">;
export type Entry = Schema<"EntryOut">;
export type Labelling = Schema<"Labelling">;

export function useVocabulary(datasetId: string, tier: Tier = "substep", enabled = true) {
  return useQuery({
    queryKey: ["dataset", "vocabulary", datasetId, tier],
    queryFn: () =>
      ok(
        api.GET("/api/datasets/{dataset_id}/vocabulary", {
          params: { path: { dataset_id: datasetId }, query: { tier } },
        }),
      ),
    enabled,
  });
}

/** Entries in their order with what they mean; refused with 409 if somebody was faster. */
export function useChangeVocabulary(datasetId: string, tier: Tier) {
  return useMutation({
    mutationFn: ({ edit, entries }: Pick<Schema<"VocabularyIn">, "edit" | "entries">) =>
      ok(
        api.PUT("/api/datasets/{dataset_id}/vocabulary", {
          params: { path: { dataset_id: datasetId } },
          body: { tier, edit, entries },
        }),
      ),
    onSuccess: (vocabulary) => {
      queryClient.setQueryData(["dataset", "vocabulary", datasetId, tier], vocabulary);
      stale();
    },
    // somebody was faster: show what they made of it
    onError: stale,
  });
}

export function useLabelling(datasetId: string) {
  return useQuery({
    queryKey: ["dataset", "labelling", datasetId],
    queryFn: () => ok(api.GET("/api/datasets/{dataset_id}/labelling", { params: { path: { dataset_id: datasetId } } })),
  });
}

export function useChangeLabelling(datasetId: string) {
  return useMutation({
    mutationFn: (body: Schema<"LabellingPatch">) =>
      ok(api.PATCH("/api/datasets/{dataset_id}/labelling", { params: { path: { dataset_id: datasetId } }, body })),
    onSuccess: (labelling) => {
      queryClient.setQueryData(["dataset", "labelling", datasetId], labelling);
      stale();
    },
  });
}

// --- bulk edits ------------------------------------------------------------------------------------------------

export type Change = Schema<"ChangeOut">;
export type ChangeResult = Schema<"ChangeResult">;

export function usePreviewRename(datasetId: string) {
  return useMutation({
    mutationFn: (body: Schema<"RenameIn">) =>
      ok(
        api.POST("/api/datasets/{dataset_id}/vocabulary/rename/preview", {
          params: { path: { dataset_id: datasetId } },
          body,
        }),
      ),
  });
}

export function useRename(datasetId: string) {
  return useMutation({
    mutationFn: (body: Schema<"RenameIn">) =>
      ok(
        api.POST("/api/datasets/{dataset_id}/vocabulary/rename", { params: { path: { dataset_id: datasetId } }, body }),
      ),
    onSuccess: stale,
  });
}

/** A preview changes nothing. */
export function useTemplate(datasetId: string) {
  return useMutation({
    mutationFn: (body: Schema<"ApplyTemplateIn">) =>
      ok(api.POST("/api/datasets/{dataset_id}/template", { params: { path: { dataset_id: datasetId } }, body })),
    onSuccess: ({ change }) => {
      if (change) stale();
    },
  });
}

export function useChanges(datasetId: string) {
  return useQuery({
    queryKey: ["dataset", "changes", datasetId],
    queryFn: () => ok(api.GET("/api/datasets/{dataset_id}/changes", { params: { path: { dataset_id: datasetId } } })),
  });
}

export function useUndo(datasetId: string) {
  return useMutation({
    mutationFn: (changeId: string) =>
      ok(
        api.POST("/api/datasets/{dataset_id}/changes/{change_id}/undo", {
          params: { path: { dataset_id: datasetId, change_id: changeId } },
        }),
      ),
    onSuccess: stale,
  });
}

// --- finding ---------------------------------------------------------------------------------------------------

export type Found = Schema<"SegmentFound">;
export type FindingCode = Schema<"FindingCode">;

export interface SegmentQuery {
  tier: Tier;
  text?: string;
  exact?: boolean;
  min_steps?: number;
  max_steps?: number;
  annotator?: string;
  provenance?: Schema<"Provenance">;
  state?: WorkState;
  warning?: FindingCode;
}

export function findSegments(datasetId: string, segmentQuery: SegmentQuery, offset: number, limit: number) {
  return ok(
    api.GET("/api/datasets/{dataset_id}/segments", {
      params: { path: { dataset_id: datasetId }, query: { ...segmentQuery, offset, limit } },
    }),
  );
}

export function useSegments(datasetId: string, segmentQuery: SegmentQuery, offset: number, limit: number) {
  return useQuery({
    queryKey: ["dataset", "segments", datasetId, segmentQuery, offset, limit],
    queryFn: () => findSegments(datasetId, segmentQuery, offset, limit),
    placeholderData: keepPreviousData,
  });
}

/** People who may label; only operators are told. */
export function useAnnotators(enabled: boolean) {
  return useQuery({ queryKey: ["annotators"], queryFn: () => ok(api.GET("/api/annotators")), enabled });
}

// --- figures ---------------------------------------------------------------------------------------------------

export type Coverage = Schema<"CoverageOut">;
export type Agreement = Schema<"AgreementOut">;
export type PersonFigures = Schema<"PersonFigures">;

export function useCoverage(datasetId: string) {
  return useQuery({
    queryKey: ["dataset", "coverage", datasetId],
    queryFn: () => ok(api.GET("/api/datasets/{dataset_id}/coverage", { params: { path: { dataset_id: datasetId } } })),
  });
}

export function useAgreement(datasetId: string) {
  return useQuery({
    queryKey: ["dataset", "agreement", datasetId],
    queryFn: () => ok(api.GET("/api/datasets/{dataset_id}/agreement", { params: { path: { dataset_id: datasetId } } })),
  });
}

/** Figures of each person in this dataset; days null: since ever. For administrators. */
export function usePeople(datasetId: string, days: number | null, enabled: boolean) {
  return useQuery({
    queryKey: ["dataset", "people", datasetId, days],
    queryFn: () => ok(api.GET("/api/annotators/figures", { params: { query: { dataset_id: datasetId, days } } })),
    enabled,
    placeholderData: keepPreviousData,
  });
}

// --- labels alone ----------------------------------------------------------------------------------------------

export type LabelFormat = Schema<"ImportLabelsIn">["format"];

/** A preview changes nothing. */
export function useImportLabels(datasetId: string) {
  return useMutation({
    mutationFn: (body: Schema<"ImportLabelsIn">) =>
      ok(api.POST("/api/datasets/{dataset_id}/labels", { params: { path: { dataset_id: datasetId } }, body })),
    onSuccess: ({ change }) => {
      if (change) stale();
    },
  });
}
