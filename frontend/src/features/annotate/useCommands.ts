import { useQuery } from "@tanstack/react-query";
import { useRef, useState } from "react";
import { useNavigate } from "react-router";

import { ApiError } from "@/api/client";
import { queryClient } from "@/api/queries";
import { plural } from "@/ui/format";
import { notifyDone, notifyError } from "@/ui/confirm";

import { draftKey, getDraft, getLabelling, isDraft, publishDraft, storedOf, submitDraft, type DraftOut } from "./api";
import type { Annotator } from "./context";
import { nearestLabelled } from "./nearest";
import { fill, stretched, type Proposal } from "./proposals";
import { judge, propose, verdictsOf, type Proposed } from "./suggestApi";
import { toSegments, type Problem } from "./timeline";

/** Boundaries of another episode go to candidates this near, seconds. */
const COPY_SNAP_S = 0.5;

type Parts = Pick<Annotator, "episode" | "about" | "editor" | "playback" | "suggestions" | "preferences" | "fps">;

/** What takes the server: publishing, other episodes. */
export function useCommands(
  { episode, about, editor, playback, suggestions, preferences, fps }: Parts,
  draft: DraftOut,
  problems: readonly Problem[],
) {
  const navigate = useNavigate();
  const [publishing, setPublishing] = useState(false);
  // what the server proposed here and what was made of it is not yet known of
  const given = useRef<Proposed[]>([]);
  // in a dataset with review labels are handed in, and published when somebody else has approved them
  const labelling = useQuery({
    queryKey: ["dataset", "labelling", episode.dataset_id],
    queryFn: () => getLabelling(episode.dataset_id),
  });
  const approved = draft.state === "approved";
  const review = (labelling.data?.review === true && !approved) || about.rater > 0;
  const [undone, done] = review
    ? ["Not submitted", about.rater > 0 ? "Handed in." : "Submitted for review."]
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
      void judge(
        episode.id,
        given.current.flatMap((each) => verdictsOf(each, toSegments(editor.timeline))),
      );
      given.current = [];
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

  const put = (proposals: readonly Proposal[], from: string) => {
    const before = editor.timeline;
    editor.edit((timeline) => fill(timeline, proposals));
    notifyDone(
      editor.timeline === before
        ? "Nothing was added: everything has a text already."
        : `From ${from}: ${plural(proposals.length, "substep")} to look at.`,
    );
  };
  /** Of the episodes that move most alike; while none of them is published, of the nearest in the list. */
  const copyNearest = async (): Promise<void> => {
    try {
      const other = await nearestLabelled(episode);
      if (!other) {
        notifyDone("No other episode of this dataset has substeps yet.");
        return;
      }
      const similar = other.label_state === "published" ? await propose(episode.id, "similar") : null;
      if (similar) {
        given.current.push(similar);
        put(similar.proposals, "similar episodes");
        return;
      }
      const { segments } = await getDraft(other.id);
      const proposals = stretched(segments, other.steps, episode.steps, {
        source: "copy",
        ...(preferences.snap && { candidates: suggestions.candidates, within: Math.round(COPY_SNAP_S * fps) }),
      });
      put(proposals, `episode ${other.number}`);
    } catch (error) {
      notifyError(error, "Nothing was copied");
    }
  };
  const proposeTemplate = async (): Promise<void> => {
    try {
      const made = await propose(episode.id, "template");
      if (!made) notifyDone("There is no usual sequence to go by yet: set the dataset's template, or publish labels.");
      else {
        given.current.push(made);
        put(made.proposals, made.mismatch ? `the template (${made.mismatch})` : "the template");
      }
    } catch (error) {
      notifyError(error, "Nothing was proposed");
    }
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
    copyNearest,
    proposeTemplate,
  };
}
