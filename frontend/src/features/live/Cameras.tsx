import { Center, Text } from "@mantine/core";
import { useInterval, useLocalStorage } from "@mantine/hooks";
import { useEffect, useState } from "react";

import { formatSeconds } from "@/ui/format";

import { useLiveRobot, useNow } from "./hooks";
import classes from "./live.module.css";
import type { CameraStats } from "./video";
import { paceWord } from "./words";

const LOOK_MS = 200;
/** Of a simulated robot, for people alone: lit, wide, and in no recording. */
const OVERVIEW = "overview";

/** A menu of the browser's over a frame helps nobody, and has the keyboard while it is open. */
function withoutMenu(element: HTMLElement): () => void {
  const suppress = (event: Event) => event.preventDefault();
  element.addEventListener("contextmenu", suppress);
  return () => element.removeEventListener("contextmenu", suppress);
}

/** The cameras: one large, the others beside it; a click on one of those makes it the large one. */
export function Cameras() {
  const robot = useLiveRobot();
  const [chosen, setChosen] = useLocalStorage<string | null>({ key: `live-camera-${robot.name}`, defaultValue: null });
  const names = useNow(({ status }) => [...status.views, ...status.cameras].map(({ name }) => name).join("\n"));
  const fault = useNow(({ status }) => status.camera_fault);
  const cameras = names ? names.split("\n") : [];
  const large = cameras.find((name) => name === chosen) ?? cameras[0];

  useEffect(() => {
    if (names) robot.watchCameras(names.split("\n"));
  }, [robot, names]);

  if (large === undefined)
    return (
      <Center className={classes.camera} display="flex">
        <Text c="gray.5">{names === undefined ? "Waiting for the robot" : (fault ?? "This robot has no camera")}</Text>
      </Center>
    );
  const others = cameras.filter((name) => name !== large);
  return (
    <section
      className={classes.cameras}
      ref={withoutMenu}
      aria-label="Cameras"
      data-alone={others.length === 0 || undefined}
    >
      <div className={classes.large}>
        <Camera key={large} name={large} />
        <Pace />
      </div>
      {others.length > 0 && (
        <div className={classes.small}>
          {others.map((name) => (
            <Camera key={name} name={name} enlarge={() => setChosen(name)} />
          ))}
        </div>
      )}
    </section>
  );
}

/** Said over the frame, because what it shows is slower than it would be. */
function Pace() {
  const pace = useNow((now) => (now.mode === "policy" && (now.real_time ?? 1) < 0.95 ? paceWord(now) : null)) ?? null;
  if (pace === null) return null;
  return (
    <span
      className={classes.pace}
      title="A simulated robot waits for its policy: no step passes that it has not answered for. A real robot never waits."
      data-testid="live-pace"
    >
      {pace}
    </span>
  );
}

function Camera({ name, enlarge }: { name: string; enlarge?: () => void }) {
  const robot = useLiveRobot();
  const [canvas, setCanvas] = useState<HTMLCanvasElement | null>(null);
  const [stats, setStats] = useState<CameraStats | null>(null);
  useInterval(() => setStats(robot.video.stats(name)), LOOK_MS, { autoInvoke: true });
  useEffect(() => {
    if (!canvas) return;
    robot.video.attach(name, canvas);
    return () => robot.video.attach(name, null);
  }, [robot, name, canvas]);

  const stale = stats?.stale === true;
  const content = (
    <>
      <canvas ref={setCanvas} />
      {stale && (
        <span className={classes.old}>
          <span>{stats.age === null ? "Waiting for a frame" : `Old frame: ${formatSeconds(stats.age / 1000)}`}</span>
        </span>
      )}
      <span className={classes.caption}>
        {name === OVERVIEW ? "Overview" : enlarge ? name.replace(/^cam_/, "") : name}
        {typeof stats?.age === "number" && (
          <span>
            {enlarge ? "" : " · "}
            {Math.round(stats.age)} ms · {stats.fps.toFixed(0)} fps · {stats.drops} dropped
          </span>
        )}
      </span>
    </>
  );
  const props = {
    className: classes.camera,
    "data-testid": `live-camera-${name}`,
    "data-overview": name === OVERVIEW || undefined,
    "data-stale": stale || undefined,
    "data-frames": stats?.frames ?? 0,
    title: "Age of the frame, frames per second, frames that were rendered and not shown here",
  };
  return enlarge ? (
    <button type="button" {...props} onClick={enlarge} aria-label={`Enlarge ${name}`}>
      {content}
    </button>
  ) : (
    <figure {...props} aria-label={name}>
      {content}
    </figure>
  );
}
