import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef } from "react";

import { ask, notifyDone, notifyError } from "@/ui/confirm";
import { plural } from "@/ui/format";

import { getDraft } from "./api";
import type { Annotator } from "./context";
import { nearestLabelled } from "./nearest";
import { fill, stretched, type Proposal } from "./proposals";
import { askVision, judge, propose, verdictsOf, type Proposed } from "./proposalApi";
import { visionQuery } from "@/features/labels/core/vision";
import { toSegments } from "@/features/labels/core/timeline";

/** Boundaries of another episode go to candidates this near, seconds. */
const COPY_SNAP_S = 0.5;

/** Where frames may be sent to: the person agreed, since the page was loaded. */
const agreed = new Set<string>();

type Parts = Pick<Annotator, "episode" | "editor" | "candidates" | "preferences" | "fps" | "cameraView">;

/** Proposals of machines for where nothing is written yet, and what became of them. */
export function useProposing({ episode, editor, candidates, preferences, fps, cameraView }: Parts) {
  const vision = useQuery(visionQuery).data;
  // what the server proposed here and what was made of it is not yet known of
  const given = useRef<Proposed[]>([]);
  const asking = useRef<AbortController | null>(null);
  useEffect(() => () => asking.current?.abort(), []);

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
        ...(preferences.snap && { candidates, within: Math.round(COPY_SNAP_S * fps) }),
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

  /** It sees the camera that is shown alone, else the first one; one goes on labelling meanwhile. */
  const askModel = async (): Promise<void> => {
    if (!vision?.configured) {
      notifyDone(
        "No vision-language model is set up. An administrator can do that: see STUDIO_VISION_URL in the README.",
      );
      return;
    }
    if (asking.current) {
      notifyDone("It is still looking at the frames.");
      return;
    }
    const host = vision.host ?? "";
    if (!agreed.has(host)) {
      const send = await ask({
        title: "Send frames of this episode?",
        children: `Small images of one camera, the instruction and the vocabulary go to ${host}. Its answers are proposals: none of them counts before you accept it.`,
        confirm: "Send them",
      });
      if (!send) return;
      agreed.add(host);
    }
    const camera = cameraView.only === null ? undefined : episode.cameras[cameraView.only];
    const question = new AbortController();
    asking.current = question;
    const model = vision.model ?? "The model";
    notifyDone(`${model} is looking at the frames. Carry on meanwhile.`);
    try {
      const made = await askVision(episode.id, camera ? [camera.name] : null, question.signal);
      if (question.signal.aborted) return;
      if (!made) notifyDone(`${model} proposed nothing.`);
      else {
        given.current.push(made);
        put(made.proposals, model);
      }
    } catch (error) {
      if (!question.signal.aborted) notifyError(error, "Nothing was proposed");
    } finally {
      asking.current = null;
    }
  };

  /** Tell the server what became of what it proposed: for the statistics. */
  const judgeGiven = () => {
    const segments = toSegments(editor.timeline);
    void judge(
      episode.id,
      given.current.flatMap((each) => verdictsOf(each, segments)),
    );
    given.current = [];
  };
  return { copyNearest, proposeTemplate, askModel, judgeGiven };
}
