// A page that draws the cameras with the live page's own code and reads from each frame when it was made.
import { LiveSocket, socketUrl } from "../../frontend/src/features/live/socket";
import { browserSurroundings, type Frame, VideoFeed } from "../../frontend/src/features/live/video";

const BLOCK = 12;
const BITS = 64;
const ROW = 32;

/** [camera, number, ms from the frame's time to now, ms since the page began, age that the page shows] */
type Row = [string, number, number, number, number];

let rows: Row[] = [];
let torn = 0;

/** performance.timeOrigin + performance.now() may be off the clock by which frames are stamped. */
function clockOffset(): number {
  const offsets: number[] = [];
  while (offsets.length < 5) {
    const before = Date.now();
    let now = before;
    while (now === before) now = Date.now();
    offsets.push(now - (performance.timeOrigin + performance.now()));
  }
  return offsets.sort((a, b) => a - b)[2] ?? 0;
}

let offset = clockOffset();

function made(canvas: HTMLCanvasElement): number {
  const context = canvas.getContext("2d", { alpha: false });
  const pixels = context?.getImageData(0, 0, ROW * BLOCK, (BITS / ROW) * BLOCK).data;
  let value = 0n;
  for (let bit = 0; bit < BITS; bit += 1) {
    const x = (bit % ROW) * BLOCK + BLOCK / 2;
    const y = Math.floor(bit / ROW) * BLOCK + BLOCK / 2;
    value = (value << 1n) | ((pixels?.[4 * (y * ROW * BLOCK + x)] ?? 0) > 127 ? 1n : 0n);
  }
  return Number(value) / 1000;
}

function drawn(frame: Frame, canvas: HTMLCanvasElement): void {
  const now = performance.now();
  const latency = performance.timeOrigin + now + offset - made(canvas);
  if (latency < -5 || latency > 60_000) torn += 1;
  else rows.push([frame.camera, frame.number, latency, now, frame.hostAge + now - frame.received]);
}

const bench = {
  start(robot: string, cameras: string[]): void {
    const feed: VideoFeed = new VideoFeed(
      (camera, number) => void socket.send({ type: "ack", camera, number }),
      browserSurroundings,
      drawn,
    );
    const socket = new LiveSocket(socketUrl(robot, "video"), {
      opened: () => {
        feed.reset();
        socket.send({ type: "watch", cameras });
      },
      binary: (data) => feed.receive(data),
    });
    for (const camera of cameras) {
      const canvas = document.body.appendChild(document.createElement("canvas"));
      canvas.style.width = "45vw";
      feed.attach(camera, canvas);
    }
    socket.start();
  },
  /** What was drawn since the last call. */
  take(): { rows: Row[]; torn: number } {
    const taken = { rows, torn };
    rows = [];
    torn = 0;
    offset = clockOffset();
    return taken;
  },
};

Object.assign(window, { bench });
