/** So many at once; whoever waits longest is next. */
export class Slots {
  private readonly waiting = new Set<() => void>();

  constructor(private free: number) {}

  /** Resolves when there is one, which has to be given back; rejects where the signal is aborted before. */
  async take(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.free > 0) {
      this.free -= 1;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const leave = () => {
        this.waiting.delete(go);
        reject(new DOMException("cancelled", "AbortError"));
      };
      const go = () => {
        this.waiting.delete(go);
        signal.removeEventListener("abort", leave);
        resolve();
      };
      this.waiting.add(go);
      signal.addEventListener("abort", leave, { once: true });
    });
  }

  give(): void {
    const [next] = this.waiting;
    if (next) next();
    else this.free += 1;
  }
}
