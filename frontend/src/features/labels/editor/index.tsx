import { Button } from "@mantine/core";
import { useDocumentTitle } from "@mantine/hooks";
import { IconEyeOff, IconMovie } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";
import { Link, Route, Routes, useParams, useSearchParams } from "react-router";

import { ApiError } from "@/api/client";
import { NoSuch } from "@/features/datasets/core/NoSuch";
import { useEpisode } from "@/features/episodes/core/hooks";
import { useVocabulary } from "@/features/labels/core/hooks";
import { NotFound } from "@/shell/NotFound";
import { EmptyState } from "@/ui/EmptyState";
import { Loaded } from "@/ui/Loaded";

import { AnnotatorPage } from "./AnnotatorPage";
import { draftKey, getDraft, type About } from "./api";
import { preferencesQuery } from "./usePreferences";

export default function Feature() {
  return (
    <Routes>
      <Route path=":id" element={<EpisodePage />} />
      <Route path="*" element={<NotFound />} />
    </Routes>
  );
}

function EpisodePage() {
  const { id = "" } = useParams();
  const [search] = useSearchParams();
  const about: About = {
    tier: search.get("tier") === "plan" ? "plan" : "substep",
    rater: search.get("rater") === "1" ? 1 : 0,
  };
  const episode = useEpisode(id);
  const texts = usePlanTexts(episode.data?.dataset_id, about.tier === "plan");
  const draft = useQuery({
    queryKey: draftKey(id, about),
    queryFn: () => getDraft(id, about),
    // never begin with what an earlier visit saw
    gcTime: 0,
  });
  // the page begins as the person likes it; if that cannot be had it begins as at the first visit
  const preferences = useQuery(preferencesQuery);
  const name = episode.data ? `Episode ${episode.data.number}, ${episode.data.dataset_name}` : "Episode";
  useDocumentTitle(`${name} - DexVLA Studio`);

  if (episode.error instanceof ApiError && episode.error.status === 404)
    return <NoSuch what="episode" icon={IconMovie} />;
  if (draft.error instanceof ApiError && draft.error.status === 403 && about.rater === 0)
    return (
      <EmptyState
        icon={IconEyeOff}
        title="You label this episode blind"
        action={
          <Button component={Link} to={`/episodes/${id}?rater=1`} data-testid="open-blind">
            Open your own labels
          </Button>
        }
      >
        {draft.error.message}
      </EmptyState>
    );
  return (
    <Loaded query={episode} lines={8}>
      {(found) => (
        <Loaded query={draft} lines={8}>
          {(stored) =>
            !preferences.isPending &&
            !texts.isLoading && (
              <AnnotatorPage
                key={`${found.id} ${about.tier} ${about.rater}`}
                episode={about.tier === "plan" ? { ...found, vocabulary: texts.data ?? [] } : found}
                about={about}
                draft={stored}
              />
            )
          }
        </Loaded>
      )}
    </Loaded>
  );
}

/** The texts of the second tier; nothing is asked unless it is wanted. */
function usePlanTexts(datasetId: string | undefined, wanted: boolean) {
  const { data, isLoading } = useVocabulary(datasetId ?? "", "plan", wanted && datasetId !== undefined);
  const texts = useMemo(() => data?.entries.map(({ text }) => text), [data]);
  return { data: texts, isLoading };
}
