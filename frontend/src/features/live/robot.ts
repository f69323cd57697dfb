/** Everything that a live page keeps of one robot: its three sockets and what came over them. No React. */
import { recheckSession } from "@/api/queries";

import { Driver } from "./driver";
import { lost, NOTHING, received, type Live } from "./live";
import type { LiveState } from "./messages";
import { LiveSocket, socketUrl } from "./socket";
import { Telemetry } from "./telemetry";
import { workerTicker } from "./ticker";
import { browserSurroundings, VideoFeed } from "./video";

/** The host tells something ten times a second; after this silence what is shown counts as old. */
const SILENT_MS = 1_000;
/** After this one the socket is taken for dead. */
const DEAD_MS = 3_000;
const LOOK_MS = 250;
const SIGNED_OUT = 4401;

export class LiveRobot {
  live: Live = NOTHING;
  readonly telemetry = new Telemetry();
  readonly video: VideoFeed;
  readonly driver: Driver;
  private readonly state: LiveSocket;
  private readonly videoSocket: LiveSocket;
  private cameras: readonly string[] = [];
  private heardAt = 0;
  private silenceTimer: ReturnType<typeof setInterval> | undefined;
  private readonly listeners = new Set<() => void>();

  constructor(readonly name: string) {
    this.state = new LiveSocket(socketUrl(name, "state"), {
      text: (text) => this.receive(JSON.parse(text) as LiveState),
      closed: (code, reason) => {
        if (code === SIGNED_OUT) recheckSession();
        this.set(lost(this.live, reason || null));
      },
    });
    this.videoSocket = new LiveSocket(socketUrl(name, "video"), {
      opened: () => {
        this.video.reset();
        this.videoSocket.send({ type: "watch", cameras: this.cameras });
      },
      binary: (data) => this.video.receive(data),
    });
    this.video = new VideoFeed(
      (camera, number) => void this.videoSocket.send({ type: "ack", camera, number }),
      browserSurroundings,
    );
    this.driver = new Driver({
      socket: (handlers) => new LiveSocket(socketUrl(name, "control"), handlers),
      ticker: workerTicker,
      now: () => performance.now(),
      attended: () => document.visibilityState === "visible" && document.hasFocus(),
    });
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  start(): void {
    this.heardAt = performance.now();
    this.state.start();
    this.silenceTimer = setInterval(() => this.look(), LOOK_MS);
    document.addEventListener("visibilitychange", this.seen);
    window.addEventListener("pagehide", this.gone);
    this.seen();
  }

  stop(): void {
    clearInterval(this.silenceTimer);
    document.removeEventListener("visibilitychange", this.seen);
    window.removeEventListener("pagehide", this.gone);
    this.state.stop();
    this.videoSocket.stop();
    this.driver.end();
  }

  /** Which cameras to show. */
  watchCameras(names: readonly string[]): void {
    if (names.join("\n") === this.cameras.join("\n")) return;
    this.cameras = names;
    this.videoSocket.send({ type: "watch", cameras: names });
  }

  /** A state that came as an answer to a request is one like any other. */
  readonly receive = (message: LiveState): void => {
    this.heardAt = performance.now();
    this.telemetry.setRate(message.status.control_hz);
    if (message.samples) this.telemetry.add(message.samples);
    this.set(received(this.live, message));
    if (this.live.now) this.driver.follow(this.live.now);
  };

  private look(): void {
    const silent = performance.now() - this.heardAt;
    if (silent < SILENT_MS) return;
    if (this.live.connection === "live") this.set(lost(this.live, null));
    if (silent > DEAD_MS && this.state.up) {
      this.heardAt = performance.now();
      this.state.again();
    }
  }

  /** A page that nobody sees supervises nothing and needs no frames. */
  private readonly seen = (): void => {
    if (document.visibilityState === "visible") {
      this.videoSocket.start();
    } else {
      this.videoSocket.stop();
      this.driver.hide();
    }
  };

  private readonly gone = (): void => this.driver.hide();

  private set(live: Live): void {
    if (live === this.live) return;
    this.live = live;
    for (const listener of this.listeners) listener();
  }
}
