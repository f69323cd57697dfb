import { UnstyledButton } from "@mantine/core";
import { useState } from "react";

import { formatCount } from "@/ui/format";

import classes from "./annotate.module.css";
import { useAnnotator, usePlayer } from "./context";

interface Props {
  /** a step is typed */
  asking: boolean;
  setAsking: (asking: boolean) => void;
}

/** Where the playhead is; a press, or its key, takes another step by its number. */
export function StepNumber({ asking, setAsking }: Props) {
  const step = usePlayer((state) => state.step);
  if (asking) return <Field step={step} done={() => setAsking(false)} />;
  return (
    <UnstyledButton
      component="button"
      className={classes.stepNumber}
      onClick={() => setAsking(true)}
      aria-label={`Step ${step}: go to another`}
      data-testid="step"
    >
      {formatCount(step)}
    </UnstyledButton>
  );
}

function Field({ step, done }: { step: number; done: () => void }) {
  const { playback, episode } = useAnnotator();
  const [typed, setTyped] = useState(String(step));
  return (
    <input
      className={classes.stepField}
      // opened by a key or a press on this very place
      ref={(input) => input?.focus()}
      onFocus={(event) => event.currentTarget.select()}
      value={typed}
      onChange={(event) => setTyped(event.currentTarget.value.replace(/\D/gu, ""))}
      onBlur={done}
      onKeyDown={(event) => {
        if (event.key === "Enter" && typed !== "") {
          playback.player.pause();
          playback.player.seek(Math.min(episode.steps - 1, Number(typed)));
        }
        if (event.key === "Enter" || event.key === "Escape") {
          event.stopPropagation();
          done();
        }
      }}
      inputMode="numeric"
      maxLength={6}
      aria-label={`Go to step, 0 to ${episode.steps - 1}`}
      data-testid="step-field"
    />
  );
}
