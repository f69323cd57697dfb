/** Which cameras are shown and which part of them; lasts as long as the page. */

export interface CameraView {
  /** the camera that is shown alone; null: all are */
  readonly only: number | null;
  /** the camera that is large in the layout "focus", and that is magnified */
  readonly focus: number;
  /** 1: the whole image */
  readonly scale: number;
  /** what is in the middle of it, as shares of width and height */
  readonly x: number;
  readonly y: number;
}

export const WHOLE: CameraView = { only: null, focus: 0, scale: 1, x: 0.5, y: 0.5 };
const MOST = 8;
/** Of what is seen, a step by keys. */
const PAN_SHARE = 0.15;

function settled(view: CameraView): CameraView {
  const scale = Math.min(MOST, Math.max(1, view.scale));
  const inside = (at: number) => Math.min(1 - 0.5 / scale, Math.max(0.5 / scale, at));
  return { ...view, scale, x: inside(view.x), y: inside(view.y) };
}

/** All, the first alone, the second, ..., all. */
export function nextCamera(view: CameraView, count: number): CameraView {
  const next = view.only === null ? 0 : view.only + 1;
  return next >= count ? { ...WHOLE, focus: view.focus } : { ...WHOLE, only: next, focus: next };
}

/** A camera alone, or all again. */
export function toggleOnly(view: CameraView, camera: number): CameraView {
  return { ...WHOLE, only: view.only === null ? camera : null, focus: camera };
}

/** 1, 2, 4, 8, 1 times. */
export function magnify(view: CameraView): CameraView {
  return view.scale >= MOST ? { ...view, scale: 1, x: 0.5, y: 0.5 } : settled({ ...view, scale: view.scale * 2 });
}

/** Around a place of what is seen (shares of its width and height), which stays where it is. */
export function zoomAt(view: CameraView, camera: number, factor: number, atX: number, atY: number): CameraView {
  const from = view.focus === camera ? view : { ...view, focus: camera, scale: 1, x: 0.5, y: 0.5 };
  const scale = Math.min(MOST, Math.max(1, from.scale * factor));
  const kept = (middle: number, at: number) => middle + (at - 0.5) * (1 / from.scale - 1 / scale);
  return settled({ ...from, scale, x: kept(from.x, atX), y: kept(from.y, atY) });
}

/** By shares of what is seen. */
export function panBy(view: CameraView, x: number, y: number): CameraView {
  return settled({ ...view, x: view.x + x / view.scale, y: view.y + y / view.scale });
}

export function panStep(view: CameraView, x: number, y: number): CameraView {
  return panBy(view, x * PAN_SHARE, y * PAN_SHARE);
}

/** For CSS; empty for the whole image. */
export function transformOf(view: CameraView, camera: number): string {
  if (view.scale === 1 || view.focus !== camera) return "";
  return `scale(${view.scale}) translate(${(0.5 - view.x) * 100}%, ${(0.5 - view.y) * 100}%)`;
}
