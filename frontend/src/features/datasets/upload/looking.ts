const LOST_MS = 20_000;

/**
 * Looks when somebody says that something may have changed: one look at a time, with a pause behind it however much is
 * said meanwhile. It looks by itself when nothing was said for long, since a word may be lost.
 */
export class Looking {
  private busy = false;
  private again = false;
  private later: ReturnType<typeof setTimeout> | undefined;

  constructor(
    /** whether there is anything to look at */
    private readonly needed: () => boolean,
    /** resolves to whether it has to be tried once more */
    private readonly look: () => Promise<boolean>,
    private readonly pauseMs: number,
  ) {}

  readonly now = (): void => {
    clearTimeout(this.later);
    if (!this.needed()) return;
    this.again = this.busy;
    if (this.busy) return;
    this.busy = true;
    void this.look()
      .then((failed) => (this.again ||= failed))
      .finally(() => setTimeout(this.rested, this.pauseMs));
  };

  private readonly rested = (): void => {
    this.busy = false;
    if (this.again) this.now();
    else this.later = setTimeout(this.now, LOST_MS);
  };
}
