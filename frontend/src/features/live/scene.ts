/** Another scene of a simulated robot, also under a policy that acts. */
import { useState } from "react";

import { useNow, useSupervised, useVerb, type Verbs } from "./hooks";
import type { Scene } from "./messages";

const SEEDS = 2 ** 32;

/** The same task with the next seed. */
export function nextScene(scene: Scene): Verbs["scene"] {
  return { task: scene.task, seed: (scene.seed + 1) % SEEDS, options: scene.options };
}

/**
 * Sets a scene up. A policy that acts is paused for it, told what the new scene asks for, and goes on; one that is
 * paused is told, too, and stays paused. If something goes wrong on the way, the robot holds.
 */
export function useNewScene() {
  const pause = useVerb("pause");
  const scene = useVerb("scene");
  const say = useVerb("instruction");
  const resume = useSupervised("resume");
  const acts = useNow(({ mode }) => mode === "policy") === true;
  const policy = useNow(({ policy }) => policy !== null) === true;
  const obstacle = useNow(({ mode, policy, recording, status }) =>
    status.state !== "holding"
      ? "The robot takes no command now; re-arm it first."
      : mode === "drive"
        ? "Stop driving first."
        : recording
          ? "Save or discard the recording first."
          : mode === "policy" && policy?.ready === false
            ? "The policy is being loaded."
            : null,
  );
  const [pending, setPending] = useState(false);
  const begin = async (wanted: Verbs["scene"]): Promise<boolean> => {
    setPending(true);
    for (const step of [pause, scene, say, resume]) step.reset();
    try {
      if (acts) await pause.mutateAsync(null);
      const after = await scene.mutateAsync(wanted);
      const instruction = after.scene?.instruction ?? "";
      if (policy && instruction !== "" && instruction !== after.policy?.instruction)
        await say.mutateAsync({ instruction });
      if (acts) await resume.start(null);
      return true;
    } catch {
      return false; // why is in `error`
    } finally {
      setPending(false);
    }
  };
  return {
    begin,
    pending,
    /** why there is none now; null if there may be */
    obstacle: obstacle ?? null,
    error: pause.error ?? scene.error ?? say.error ?? resume.error,
  };
}
