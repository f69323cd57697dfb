import { useEffect, useMemo } from "react";
import { useNavigate, useSearchParams } from "react-router";

import { notifyDone } from "@/ui/confirm";

import { addressOf, readTrail, stopAt, type Stop, type Trail } from "@/features/labels/core/trail";

export interface OnTrail {
  readonly trail: Trail;
  readonly at: number;
  readonly stop: Stop;
}

interface Player {
  pause: () => void;
  seek: (step: number) => void;
}

/**
 * Where an episode's page is on the trail that it was opened from, and the way along it. The playhead goes to the
 * step of the stop, or to the one of `?step=`.
 */
export function useTrail(episode: string, player: Player) {
  const [search] = useSearchParams();
  const navigate = useNavigate();
  const asked = search.get("trail");
  const on = useMemo((): OnTrail | null => {
    const trail = readTrail();
    const at = stopAt(trail, asked, episode);
    const stop = at === null ? undefined : trail?.stops[at];
    return trail && at !== null && stop ? { trail, at, stop } : null;
  }, [asked, episode]);
  const step = on?.stop.step ?? stepOf(search.get("step"));

  useEffect(() => {
    if (step === null) return;
    player.pause();
    player.seek(step);
    // two stops at one step are two stops
  }, [player, step, asked]);

  /** To the next or previous stop; behind the last piece of work to the list of what is left. */
  const go = (direction: 1 | -1): void => {
    if (!on) return;
    const { trail, at } = on;
    const address = addressOf(trail, at + direction);
    if (address !== null) void navigate(address);
    else if (direction < 0) notifyDone("This is the first.");
    else if (trail.kind === "hits") notifyDone("This is the last hit.");
    else void navigate(trail.from);
  };
  return { on, go };
}

function stepOf(asked: string | null): number | null {
  return asked !== null && /^\d{1,9}$/.test(asked) ? Number(asked) : null;
}
