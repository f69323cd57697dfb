/** Times of the playhead: two decimals below a minute, minutes above. */
export function secondsText(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(2)} s`;
  const minutes = Math.floor(seconds / 60);
  return `${minutes} min ${(seconds - 60 * minutes).toFixed(2).padStart(5, "0")} s`;
}

/** "120 - 180, 2.40 - 3.60 s": steps, the last one included, and times. */
export function rangeText(start: number, end: number, fps: number): string {
  return `${start} - ${end - 1}, ${(start / fps).toFixed(2)} - ${(end / fps).toFixed(2)} s`;
}
