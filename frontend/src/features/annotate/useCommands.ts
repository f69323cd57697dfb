import { useState } from "react";
import { useNavigate } from "react-router";

import { ApiError } from "@/api/client";
import { queryClient } from "@/api/queries";
import { plural } from "@/ui/format";
import { notifyDone, notifyError } from "@/ui/confirm";

import { isDraft, publishDraft, storedOf } from "./api";
import type { Annotator } from "./context";
import { nearestLabels } from "./nearest";
import { fill, stretched } from "./proposals";
import type { Problem } from "./timeline";

/** Boundaries of another episode go to candidates this near, seconds. */
const COPY_SNAP_S = 0.5;

type Parts = Pick<Annotator, "episode" | "editor" | "playback" | "suggestions" | "preferences" | "fps">;

/** What takes the server: publishing, other episodes. */
export function useCommands(
  { episode, editor, playback, suggestions, preferences, fps }: Parts,
  problems: readonly Problem[],
) {
  const navigate = useNavigate();
  const [publishing, setPublishing] = useState(false);

  /** Whether it is published now. */
  const publish = async (): Promise<boolean> => {
    const error = problems.find(({ level }) => level === "error");
    if (error) {
      notifyError(new Error(`Substep ${error.segment + 1} ${error.message}.`), "Not published");
      playback.player.seek(editor.timeline.boundaries[error.segment] ?? 0);
      return false;
    }
    setPublishing(true);
    try {
      await editor.autosave.flush();
      if (editor.autosave.unsaved) throw new Error("The newest edits could not be saved yet; publish when they are.");
      const published = await publishDraft(episode.id, editor.autosave.edit);
      editor.published(published.edit);
      queryClient.setQueryData(["episode", "annotation", episode.id], published);
      for (const topic of ["episode", "dataset"]) void queryClient.invalidateQueries({ queryKey: [topic] });
      notifyDone(`Published as revision ${published.published?.number ?? ""}.`);
      return true;
    } catch (problem) {
      if (problem instanceof ApiError && problem.status === 409 && isDraft(problem.detail))
        editor.adopt(storedOf(problem.detail));
      notifyError(problem, "Not published");
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

  const copyNearest = async (): Promise<void> => {
    try {
      const other = await nearestLabels(episode);
      if (!other) {
        notifyDone("No other episode of this dataset has substeps yet.");
        return;
      }
      const proposals = stretched(other.segments, other.steps, episode.steps, {
        source: "copy",
        ...(preferences.snap && { candidates: suggestions.candidates, within: Math.round(COPY_SNAP_S * fps) }),
      });
      const before = editor.timeline;
      editor.edit((timeline) => fill(timeline, proposals));
      notifyDone(
        editor.timeline === before
          ? "Nothing was copied: everything has a text already."
          : `Copied from episode ${other.number}: ${plural(proposals.length, "substep")} to look at.`,
      );
    } catch (error) {
      notifyError(error, "Nothing was copied");
    }
  };
  return {
    publishing,
    publish,
    publishAndNext: async () => {
      if ((await publish()) && episode.next_id !== null) openNeighbour(1);
    },
    openNeighbour,
    copyNearest,
  };
}
