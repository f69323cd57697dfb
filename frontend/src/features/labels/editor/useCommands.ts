import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { useNavigate } from "react-router";

import { ApiError } from "@/api/client";
import { queryClient } from "@/api/queries";
import { notifyDone, notifyError } from "@/ui/confirm";

import { draftKey, getLabelling, isDraft, publishDraft, storedOf, submitDraft, type DraftOut } from "./api";
import type { Annotator } from "./context";
import type { Problem } from "@/features/labels/core/timeline";

type Parts = Pick<Annotator, "episode" | "about" | "editor" | "playback">;

/** What takes the server: publishing, other episodes. `judgeGiven`: tells it what became of proposals. */
export function useCommands(
  { episode, about, editor, playback }: Parts,
  draft: DraftOut,
  problems: readonly Problem[],
  judgeGiven: () => void,
) {
  const navigate = useNavigate();
  const [publishing, setPublishing] = useState(false);
  // in a dataset with review labels are submitted, and published when somebody else has approved them
  const labelling = useQuery({
    queryKey: ["dataset", "labelling", episode.dataset_id],
    queryFn: () => getLabelling(episode.dataset_id),
  });
  const approved = draft.state === "approved";
  const review = (labelling.data?.review === true && !approved) || about.rater > 0;
  const [undone, done] = review
    ? ["Not submitted", about.rater > 0 ? "Submitted." : "Submitted for review."]
    : ["Not published", "Published"];

  /** Whether it is published, or submitted, now. */
  const publish = async (): Promise<boolean> => {
    const error = problems.find(({ level }) => level === "error");
    if (error) {
      notifyError(new Error(`Substep ${error.segment + 1} ${error.message}.`), undone);
      playback.player.seek(editor.timeline.boundaries[error.segment] ?? 0);
      return false;
    }
    setPublishing(true);
    try {
      await editor.autosave.flush();
      if (editor.autosave.unsaved) throw new Error("The newest edits could not be saved yet; try again when they are.");
      const published = await (review ? submitDraft : publishDraft)(episode.id, editor.autosave.edit, about);
      editor.published(published.edit);
      judgeGiven();
      queryClient.setQueryData(draftKey(episode.id, about), published);
      for (const topic of ["episode", "dataset"]) void queryClient.invalidateQueries({ queryKey: [topic] });
      notifyDone(review ? done : `${done} as revision ${published.published?.number ?? ""}.`);
      return true;
    } catch (problem) {
      if (problem instanceof ApiError && problem.status === 409 && isDraft(problem.detail))
        editor.adopt(storedOf(problem.detail));
      notifyError(problem, undone);
      return false;
    } finally {
      setPublishing(false);
    }
  };

  const openNeighbour = (direction: 1 | -1) => {
    const id = direction > 0 ? episode.next_id : episode.previous_id;
    if (id === null) notifyDone(direction > 0 ? "This is the last episode." : "This is the first episode.");
    else void navigate(`/episodes/${id}`);
  };

  return {
    review,
    /** labels of this dataset are published only after somebody else approved them */
    reviewed: labelling.data?.review === true,
    publishing,
    publish,
    /** openStop: along the list that the page was opened from */
    publishAndNext: async (openStop: ((direction: 1) => void) | null) => {
      if (!(await publish())) return;
      if (openStop) openStop(1);
      else if (episode.next_id !== null) openNeighbour(1);
    },
    openNeighbour,
  };
}
