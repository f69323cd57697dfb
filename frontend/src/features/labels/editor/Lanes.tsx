import { useComputedColorScheme } from "@mantine/core";

import classes from "./annotate.module.css";
import { labelColor } from "@/features/labels/core/colors";
import type { Candidate } from "./candidates";
import { entryIndex, useAnnotator } from "./context";
import type { Segment } from "@/features/labels/core/timeline";
import type { View } from "./view";

/** Segments of somebody else, or of another time. */
export interface OtherLabels {
  readonly name: string;
  readonly segments: readonly Pick<Segment, "start" | "end" | "text">[];
}

function place(view: View, start: number, end: number) {
  const length = view.to - view.from;
  return { left: `${(100 * (start - view.from)) / length}%`, width: `${(100 * (end - start)) / length}%` };
}

/** Where a substep may end: the surer, the taller. */
export function CandidateLane({ view }: { view: View }) {
  const { candidates } = useAnnotator();
  if (candidates.length === 0) return null;
  return (
    <div className={classes.lane} data-testid="candidates">
      <span className={classes.laneName}>boundaries</span>
      <div className={classes.candidates}>
        {candidates
          .filter(({ step }) => step >= view.from && step <= view.to)
          .map((candidate) => (
            <div
              key={`${candidate.step} ${candidate.source}`}
              className={classes.candidate}
              style={{ left: place(view, candidate.step, candidate.step).left, height: heightOf(candidate) }}
              title={candidateText(candidate)}
              data-testid="candidate"
              data-step={candidate.step}
            />
          ))}
      </div>
    </div>
  );
}

function heightOf({ confidence }: Candidate): string {
  return `${Math.round(30 + 70 * (confidence ?? 0.5))}%`;
}

export function candidateText({ step, confidence, source }: Candidate): string {
  return `${source}, step ${step}${confidence === null ? "" : `, ${Math.round(100 * confidence)} %`}`;
}

/** One row for each of the others. */
export function OtherLanes({ view, others }: { view: View; others: readonly OtherLabels[] }) {
  const { entries } = useAnnotator();
  const scheme = useComputedColorScheme("light");
  return others.map(({ name, segments }) => (
    <div key={name} className={classes.lane} data-testid="other-labels" data-name={name}>
      <span className={classes.laneName} title={name}>
        {name}
      </span>
      <div className={classes.others}>
        {segments
          .filter(({ start, end }) => end > view.from && start < view.to)
          .map(({ start, end, text }) => {
            const color = labelColor(entryIndex(entries, text), scheme);
            return (
              <div
                key={start}
                className={`${classes.otherSegment ?? ""} ${text === "" ? (classes.empty ?? "") : ""}`}
                style={{ ...place(view, start, end), ...(text && { background: color.fill, color: color.text }) }}
                title={`${name}: ${text || "no text"}, steps ${start} to ${end - 1}`}
              >
                {text}
              </div>
            );
          })}
      </div>
    </div>
  ));
}
