/**
 * Whether keys that count as held are still down, by what the keyboard itself says. Pure.
 *
 * A system repeats the key that was pressed last, and that one alone, for as long as it is down and the keyboard is
 * ours: after a delay, then at an interval. A repeat that does not come means that the key is up, or that somebody else
 * (a native menu, a screen lock, an input method) has the keyboard and would hear its end instead of us. Either way
 * nothing is known of any key any more. Times are those of event.timeStamp, ms: when the system saw the key, so that a
 * page that was busy neither misses a sign nor takes an old one for new.
 */

/** The longest wait for a first repeat. X11's is 660 ms, that of Windows and macOS up to 500 as they are installed. */
export const LONGEST_DELAY_MS = 750;
/** The longest time between two repeats. macOS repeats every 90 ms as it is installed, others every 25 to 40. */
const LONGEST_INTERVAL_MS = 100;
/**
 * How late a sign may be. The robot has to be at rest 150 ms after the first sign that is missing: this, one tick of
 * the page (20 ms), one control step of the host and one in which it brakes (20 ms each) are 120.
 */
export const SPARE_MS = 60;
/** How many of the last times count. */
const REMEMBERED = 8;

/** off: a key was held for long and not repeated at all. slow: only after more than LONGEST_DELAY_MS. */
export type RepeatTrouble = "off" | "slow";

export class Keyboard {
  private newest: { code: string; since: number; repeated: number | null } | null = null;
  private seen = -Infinity;
  private readonly delays: number[] = [];
  private readonly intervals: number[] = [];
  private found: RepeatTrouble | null = null;
  /** When each key that has not gone up was last heard of, by its code. */
  private readonly heard = new Map<string, number>();

  /** What is wrong with this system's key repeat, as far as one has seen; null: nothing. */
  get trouble(): RepeatTrouble | null {
    return this.found;
  }

  /** When the newest sign came. */
  get lastSign(): number {
    return this.seen;
  }

  /**
   * A key went down, or was repeated; says whether somebody pressed it just now.
   *
   * `repeat` is what the browser says. Chromium on X11 calls a repeat a press if another key, also Shift, went down or
   * up since the one before: so what has not gone up and was heard of a repeat's time ago counts as repeated, too.
   */
  down(code: string, at: number, repeat: boolean): boolean {
    this.seen = Math.max(this.seen, at);
    const before = this.heard.get(code);
    this.heard.set(code, at);
    if (!repeat && (before === undefined || at - before > LONGEST_DELAY_MS)) {
      this.newest = { code, since: at, repeated: null };
      return true;
    }
    if (this.newest?.code !== code) return false; // pressed before we listened, or while somebody else did
    const { since, repeated } = this.newest;
    if (repeated === null) this.learnDelay(at - since);
    else if (at - repeated <= LONGEST_INTERVAL_MS) remember(this.intervals, at - repeated);
    this.newest.repeated = at;
    return false;
  }

  /** A key went up. Whether it was the one that is repeated: from now on nothing speaks for the others. */
  up(code: string, at: number): boolean {
    this.seen = Math.max(this.seen, at);
    this.heard.delete(code);
    if (this.newest?.code !== code) return false;
    const { since, repeated } = this.newest;
    if (repeated === null && at - since > LONGEST_DELAY_MS) this.found ??= "off";
    this.newest = null;
    return true;
  }

  /** Nothing is known of any key: somebody else may have the keyboard. */
  forget(): void {
    this.newest = null;
  }

  /** Until when the keys that are held count without a further sign; -Infinity: nothing speaks for them. */
  get until(): number {
    if (!this.newest) return -Infinity;
    const { since, repeated } = this.newest;
    if (repeated === null) return since + Math.min(LONGEST_DELAY_MS, most(this.delays, LONGEST_DELAY_MS) + SPARE_MS);
    return repeated + most(this.intervals, LONGEST_INTERVAL_MS) + SPARE_MS;
  }

  private learnDelay(delay: number): void {
    if (delay > LONGEST_DELAY_MS) {
      this.found = "slow";
      return;
    }
    this.found = null;
    remember(this.delays, delay);
  }
}

function remember(times: number[], time: number): void {
  times.push(time);
  if (times.length > REMEMBERED) times.shift();
}

function most(times: readonly number[], unknown: number): number {
  return times.length === 0 ? unknown : Math.max(...times);
}
