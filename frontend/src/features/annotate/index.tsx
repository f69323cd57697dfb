import { Button } from "@mantine/core";
import { useDocumentTitle } from "@mantine/hooks";
import { IconMovie } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { Link, Route, Routes, useParams } from "react-router";

import { ApiError } from "@/api/client";
import { useEpisode } from "@/features/episodes/hooks";
import { NotFound } from "@/shell/NotFound";
import { EmptyState } from "@/ui/EmptyState";
import { Loaded } from "@/ui/Loaded";

import { AnnotatorPage } from "./AnnotatorPage";
import { getDraft } from "./api";
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
  const episode = useEpisode(id);
  const draft = useQuery({
    queryKey: ["episode", "annotation", id],
    queryFn: () => getDraft(id),
    // never begin with what an earlier visit saw
    gcTime: 0,
  });
  // the page begins as the person likes it; if that cannot be had it begins as at the first visit
  const preferences = useQuery(preferencesQuery);
  const name = episode.data ? `Episode ${episode.data.number}, ${episode.data.dataset_name}` : "Episode";
  useDocumentTitle(`${name} - DexVLA Studio`);

  if (episode.error instanceof ApiError && episode.error.status === 404)
    return (
      <EmptyState
        icon={IconMovie}
        title="This episode is not there"
        action={
          <Button component={Link} to="/datasets" variant="default">
            All datasets
          </Button>
        }
      >
        It was deleted, or the link is wrong.
      </EmptyState>
    );
  return (
    <Loaded query={episode} lines={8}>
      {(found) => (
        <Loaded query={draft} lines={8}>
          {(stored) => !preferences.isPending && <AnnotatorPage key={found.id} episode={found} draft={stored} />}
        </Loaded>
      )}
    </Loaded>
  );
}
