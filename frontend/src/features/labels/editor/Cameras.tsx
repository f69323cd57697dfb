import { Loader, Text } from "@mantine/core";
import { useElementSize, useViewportSize } from "@mantine/hooks";
import { useEffect, useEffectEvent, useRef, useState, type PointerEvent } from "react";

import classes from "./annotate.module.css";
import { PROXY_ROWS } from "./api";
import { useAnnotator, usePlayer } from "./context";
import { heightOf, placed, type Box } from "./layout";
import { panBy, toggleOnly, transformOf, zoomAt } from "./cameraView";
import { PLAIN_LOOK, type Look } from "./preferences";

const LATE_MS = 150;
const WHEEL_ZOOM = 0.003;
/** Less than this is a click, pixels. */
const CLICK = 4;

/** All cameras of one step in the chosen layout; a click shows one alone, Ctrl and the wheel magnify it. */
export function Cameras() {
  const { episode, playback, preferences, cameraView } = useAnnotator();
  const { ref, width } = useElementSize();
  const { height: windowHeight } = useViewportSize();
  const room = { width, height: Math.max(150, windowHeight * preferences.pictures) };
  const boxes = placed(episode.cameras, room, preferences.layout, cameraView);
  const first = boxes.findIndex((box) => box !== null);
  const tallest = Math.max(0, ...boxes.map((box) => box?.height ?? 0)) * cameraView.scale * window.devicePixelRatio;
  useEffect(() => playback.player.setSmall(tallest <= PROXY_ROWS), [playback, tallest]);
  const late = useLate();

  if (episode.cameras.length === 0)
    return (
      <Text size="sm" c="dimmed">
        This episode has no cameras.
      </Text>
    );
  return (
    <div ref={ref} className={classes.cameras} style={{ height: heightOf(boxes) || room.height }} data-testid="cameras">
      {boxes.map((box, index) => box && <Camera key={index} index={index} box={box} late={late && index === first} />)}
    </div>
  );
}

function Camera({ index, box, late }: { index: number; box: Box; late: boolean }) {
  const { episode, playback, preferences, cameraView, setCameraView } = useAnnotator();
  const { name, width, height } = episode.cameras[index] ?? { name: "", width: 1, height: 1 };
  const alone = cameraView.only === index;
  const figure = useRef<HTMLElement>(null);
  const drag = useRef<{ x: number; y: number; moved: boolean } | null>(null);
  const magnified = cameraView.focus === index && cameraView.scale > 1;

  const wheel = useEffectEvent((event: WheelEvent) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const factor = Math.exp(-event.deltaY * WHEEL_ZOOM);
    const [x, y] = [event.offsetX / box.width, event.offsetY / box.height];
    setCameraView((old) => zoomAt(old, index, factor, x, y));
  });
  useEffect(() => {
    const element = figure.current;
    const listener = (event: WheelEvent) => wheel(event);
    // React listens passively, and then the browser would zoom the page
    element?.addEventListener("wheel", listener, { passive: false });
    return () => element?.removeEventListener("wheel", listener);
  }, []);

  const move = (event: PointerEvent) => {
    const from = drag.current;
    if (!from) return;
    const [x, y] = [event.clientX - from.x, event.clientY - from.y];
    if (!from.moved && Math.hypot(x, y) < CLICK) return;
    drag.current = { x: event.clientX, y: event.clientY, moved: true };
    setCameraView((old) => panBy(old, -x / box.width, -y / box.height));
  };

  return (
    <figure ref={figure} className={classes.camera} data-large={alone || undefined} style={{ ...box }}>
      <button
        type="button"
        className={classes.imageButton}
        aria-label={alone ? `${name}: show all cameras` : `${name}: show it alone`}
        aria-pressed={alone}
        disabled={episode.cameras.length === 1}
        onPointerDown={(event) => {
          if (!magnified) return;
          event.currentTarget.setPointerCapture(event.pointerId);
          drag.current = { x: event.clientX, y: event.clientY, moved: false };
        }}
        onPointerMove={move}
        onClick={() => {
          const dragged = drag.current?.moved === true;
          drag.current = null;
          if (!dragged) setCameraView((old) => toggleOnly(old, index));
        }}
      >
        <canvas
          ref={(canvas) => playback.screen.attach(index, canvas)}
          width={width}
          height={height}
          style={{ filter: filterOf(preferences.looks[name]), transform: transformOf(cameraView, index) || undefined }}
          data-testid="camera-canvas"
          data-camera={name}
        />
      </button>
      <figcaption className={classes.cameraName}>{name}</figcaption>
      {late && <Loader className={classes.waiting} size="xs" color="white" />}
    </figure>
  );
}

/** undefined where nothing is changed: a filter costs time with every frame. */
function filterOf({ brightness, contrast }: Look = PLAIN_LOOK): string | undefined {
  return brightness === 1 && contrast === 1 ? undefined : `brightness(${brightness}) contrast(${contrast})`;
}

/** Whether frames have been missing for a noticeable moment. */
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
