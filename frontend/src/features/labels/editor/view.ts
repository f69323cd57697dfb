/** The part of the episode that timeline and plots show: steps from (inclusive) to (exclusive), fractions allowed. */

export interface View {
  readonly from: number;
  readonly to: number;
}

/** Closest zoom, steps over the whole width. */
const SHORTEST = 20;

export function whole(steps: number): View {
  return { from: 0, to: steps };
}

/** Within the episode, not shorter than the closest zoom, of the same length if that is possible. */
function settled(view: View, steps: number): View {
  const length = Math.min(steps, Math.max(Math.min(SHORTEST, steps), view.to - view.from));
  const from = Math.min(steps - length, Math.max(0, view.from));
  return { from, to: from + length };
}

/** factor < 1 shows less; `at` keeps its place. */
export function zoom(view: View, steps: number, factor: number, at: number): View {
  const length = settled({ from: 0, to: (view.to - view.from) * factor }, steps).to;
  const share = (at - view.from) / (view.to - view.from);
  return settled({ from: at - share * length, to: at + (1 - share) * length }, steps);
}

export function pan(view: View, steps: number, by: number): View {
  return settled({ from: view.from + by, to: view.to + by }, steps);
}

/** `at` comes to its middle, as far as the ends let it. */
export function centred(view: View, steps: number, at: number): View {
  const half = (view.to - view.from) / 2;
  return settled({ from: at - half, to: at + half }, steps);
}

/** As many steps as the timeline has pixels, around `at`. */
export function pixelView(steps: number, pixels: number, at: number): View {
  return centred({ from: 0, to: Math.max(1, pixels) }, steps, at);
}

/** The same view if `step` is in it, else one page on, or centred after a jump. */
export function follow(view: View, steps: number, step: number): View {
  if (step >= view.from && step < view.to) return view;
  const length = view.to - view.from;
  const near = step >= view.to && step < view.to + length / 4;
  const from = near ? step - length / 20 : step - length / 2;
  return settled({ from, to: from + length }, steps);
}

/** Distance of ticks so that at most `most` fit: 1, 2 or 5 times a power of ten. */
export function tickStep(length: number, most: number): number {
  const rough = length / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  return step ?? rough;
}

/** Multiples of tickStep in the view, in the view's unit. */
export function ticks(view: View, most: number): number[] {
  const step = tickStep(view.to - view.from, most);
  const first = Math.ceil(view.from / step);
  const count = Math.max(0, Math.floor(view.to / step) - first + 1);
  return Array.from({ length: count }, (_, index) => (first + index) * step).filter((each) => each < view.to);
}
