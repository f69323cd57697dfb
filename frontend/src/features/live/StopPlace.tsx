import { Text } from "@mantine/core";
import { useEffect, useRef } from "react";

import { StopButton } from "@/features/robots/core/StopButton";

import classes from "./live.module.css";

/** The stop in its fixed place, above everything else; its words stand beside it where there is room. */
export function StopPlace({ onStop }: { onStop: () => void }) {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => (place.current ? stayVisible(place.current) : undefined), []);
  return (
    <>
      <div className={classes.stopRow}>
        <Text id="stop-words" className={classes.stopWords} c="dimmed">
          Escape stops too. It is a software stop: keep the robot&apos;s own emergency stop at hand.
        </Text>
      </div>
      {/* not within the row, which would keep it in its own layer */}
      <div ref={place} className={classes.stopPlace}>
        <StopButton
          fullWidth
          h="100%"
          size="lg"
          onStop={onStop}
          aria-keyshortcuts="Escape"
          aria-describedby="stop-words"
          data-testid="live-stop"
        />
      </div>
    </>
  );
}

/** Keeps a fixed element in what is seen of the page, in its size: a keyboard on the screen or two fingers hide a part. */
function stayVisible(element: HTMLElement): () => void {
  const seen = window.visualViewport;
  if (!seen) return () => undefined;
  const move = () => {
    const { clientWidth, clientHeight } = document.documentElement;
    const right = Math.max(0, clientWidth - seen.offsetLeft - seen.width);
    const below = Math.max(0, clientHeight - seen.offsetTop - seen.height);
    const whole = right < 1 && below < 1 && seen.scale === 1;
    element.style.transform = whole ? "" : `translate(${-right}px, ${-below}px) scale(${1 / seen.scale})`;
  };
  move();
  seen.addEventListener("resize", move);
  seen.addEventListener("scroll", move);
  return () => {
    seen.removeEventListener("resize", move);
    seen.removeEventListener("scroll", move);
  };
}
