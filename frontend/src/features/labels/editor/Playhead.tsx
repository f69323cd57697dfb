import { useEffect, useRef } from "react";

import classes from "./annotate.module.css";
import { useAnnotator } from "./context";
import type { View } from "./view";

/** The line at the playhead; moved without rendering, fifty times a second. `width`: of the view, pixels. */
export function Playhead({ view, width, left = 0 }: { view: View; width: number; left?: number }) {
  const { player } = useAnnotator().playback;
  const line = useRef<HTMLDivElement>(null);

  useEffect(() => {
    const place = () => {
      if (!line.current) return;
      const share = (player.state.step + 0.5 - view.from) / (view.to - view.from);
      line.current.style.transform = `translateX(${left + share * width}px)`;
      line.current.style.visibility = share < 0 || share > 1 ? "hidden" : "visible";
    };
    place();
    return player.subscribe(place);
  }, [player, view, width, left]);

  return <div ref={line} className={classes.playhead} aria-hidden />;
}
