import type { Schema } from "@/api/client";

import { decodeJpeg, fetchPack, PROXY_ROWS } from "./api";
import { Frames, type StepFrames } from "./frames";
import { Player } from "./player";

type Episode = Schema<"EpisodeDetail">;

/** Cameras at least this much taller than proxies make proxies worth their decoding. */
const PROXY_GAIN = 1.3;

/** Canvases of the cameras, one each and all drawn at once; `data-step` says what they show. */
export class Screen {
  private readonly canvases = new Map<number, HTMLCanvasElement>();
  private newest: StepFrames | null = null;

  constructor(private readonly attached: () => void) {}

  readonly attach = (camera: number, canvas: HTMLCanvasElement | null): void => {
    if (canvas) {
      this.canvases.set(camera, canvas);
      this.attached();
    } else this.canvases.delete(camera);
  };

  readonly draw = (frames: StepFrames): void => {
    this.newest = frames;
    for (const [camera, canvas] of this.canvases) {
      const context = canvas.getContext("2d", { alpha: false });
      if (!context) continue;
      const image = frames.images[camera];
      if (image) context.drawImage(image, 0, 0, canvas.width, canvas.height);
      else missing(context, canvas);
      canvas.dataset.step = String(frames.step);
      canvas.dataset.quality = frames.quality;
    }
  };

  get step(): number {
    return this.newest?.step ?? -1;
  }
}

function missing(context: CanvasRenderingContext2D, { width, height }: HTMLCanvasElement): void {
  context.fillStyle = "#30363d";
  context.fillRect(0, 0, width, height);
  context.fillStyle = "#d3d7dc";
  context.font = `${Math.max(12, Math.round(height / 16))}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.fillText("no readable frame at this step", width / 2, height / 2, width * 0.9);
}

export interface Playback {
  player: Player;
  screen: Screen;
  frames: Frames;
}

/** `failed`: why frames cannot be loaded; null when they can again. */
export function createPlayback(episode: Episode, failed: (error: unknown) => void): Playback {
  const frames: Frames = new Frames({
    steps: episode.steps,
    cameras: episode.cameras.map(({ name }) => name),
    fetchPack: (request, signal) => fetchPack(episode.id, request, signal),
    decode: decodeJpeg,
    ready: () => player.wake(),
    failed,
  });
  const player: Player = new Player({
    steps: episode.steps,
    fps: episode.fps,
    source: frames,
    proxies: episode.cameras.some(({ height }) => height >= PROXY_ROWS * PROXY_GAIN),
    draw: (stepFrames) => screen.draw(stepFrames),
  });
  const screen: Screen = new Screen(() => player.redraw());
  return { player, screen, frames };
}
