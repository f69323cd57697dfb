import { Loader, Text } from "@mantine/core";
import { useElementSize } from "@mantine/hooks";
import { useEffect, useState } from "react";

import classes from "./annotate.module.css";
import { useAnnotator, usePlayer } from "./context";

const GAP = 6;
const MOST_COLUMNS = 4;
/** of the window's height, for the pictures together */
const MOST_HEIGHT = 0.46;
const LATE_MS = 150;

/** All cameras of one step, side by side; a click on one makes it large. */
export function Cameras() {
  const { episode, playback } = useAnnotator();
  const { ref, width } = useElementSize();
  const [large, setLarge] = useState<number | null>(null);
  const late = useLate();

  const shown = episode.cameras
    .map((camera, index) => ({ ...camera, index }))
    .filter(({ index }) => large === null || large === index);
  const columns = Math.min(MOST_COLUMNS, shown.length);
  const rows = Math.ceil(shown.length / Math.max(1, columns));
  const tallest = Math.max(0.2, ...shown.map(({ height, width }) => height / width));
  const limit = (window.innerHeight * MOST_HEIGHT) / rows;
  const cell = Math.floor(Math.min((width - GAP * (columns - 1)) / Math.max(1, columns), limit / tallest));

  if (episode.cameras.length === 0)
    return (
      <Text size="sm" c="dimmed">
        This episode has no pictures.
      </Text>
    );
  return (
    <div
      ref={ref}
      className={classes.cameras}
      style={{ gridTemplateColumns: `repeat(${columns}, ${cell > 0 ? `${cell}px` : "1fr"})` }}
      data-testid="cameras"
    >
      {shown.map(({ name, index, width, height }) => (
        <figure
          key={name}
          className={classes.camera}
          data-large={large === index || undefined}
          style={{ aspectRatio: `${width} / ${height}` }}
        >
          <button
            type="button"
            className={classes.rowButton}
            style={{ height: "100%" }}
            aria-label={large === null ? `Only ${name}, large` : "All cameras"}
            aria-pressed={large === index}
            disabled={episode.cameras.length === 1}
            onClick={() => setLarge(large === null ? index : null)}
          >
            <canvas
              ref={(canvas) => playback.screen.attach(index, canvas)}
              width={width}
              height={height}
              data-testid="camera-canvas"
              data-camera={name}
            />
          </button>
          <figcaption className={classes.cameraName}>{name}</figcaption>
          {late && index === shown[0]?.index && <Loader className={classes.waiting} size="xs" color="white" />}
        </figure>
      ))}
    </div>
  );
}

/** Whether pictures have been missing for a noticeable moment. */
function useLate(): boolean {
  const missing = usePlayer(({ step, shown, waiting }) => waiting || step !== shown);
  const [late, setLate] = useState(false);
  useEffect(() => {
    if (!missing) return;
    const timer = setTimeout(() => setLate(true), LATE_MS);
    return () => {
      clearTimeout(timer);
      setLate(false);
    };
  }, [missing]);
  return late && missing;
}
