const WINDOW_MS = 12_000;
const LEAST_MS = 1_000;

/** Bytes a second over the last moments, so that an estimate follows the line without flickering. */
export class Rate {
  private samples: { at: number; bytes: number }[] = [];

  /** bytes: that were sent in all. at: milliseconds of any clock that only goes forward. */
  note(bytes: number, at: number): void {
    const last = this.samples.at(-1);
    if (last && bytes < last.bytes) this.samples = []; // something was taken back: begun anew
    if (last && at - last.at < 200 && this.samples.length > 1) this.samples.pop();
    this.samples.push({ at, bytes });
    while ((this.samples[0]?.at ?? at) < at - WINDOW_MS) this.samples.shift();
  }

  /** null: not known yet */
  get bytesPerSecond(): number | null {
    const first = this.samples[0];
    const last = this.samples.at(-1);
    if (!first || !last || last.at - first.at < LEAST_MS) return null;
    return (1000 * (last.bytes - first.bytes)) / (last.at - first.at);
  }

  clear(): void {
    this.samples = [];
  }
}
