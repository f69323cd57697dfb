/**
 * Saves a draft while people edit it. Every save names the edit number that it started from; if somebody else saved
 * in between, nothing is overwritten and the person decides. What is not yet acknowledged is kept in this browser.
 */

export type SaveState =
  /** at: when, milliseconds since 1970; null: nothing was saved in this session */
  | { kind: "saved"; at: number | null }
  /** edited, the save follows in a moment */
  | { kind: "pending" }
  | { kind: "saving" }
  /** no answer; kept here and tried again */
  | { kind: "offline"; message: string }
  /** somebody else saved: `stored` is what the server has */
  | { kind: "conflict"; stored: unknown }
  /** the server says no and would say it again */
  | { kind: "refused"; message: string };

/** What the server holds: the document and how many times it was saved. */
export interface Stored<D> {
  edit: number;
  document: D;
}

/** How a save ended, if not well: see `outcome` in the options. */
export type Failure<D> =
  { kind: "conflict"; stored: Stored<D> } | { kind: "offline"; message: string } | { kind: "refused"; message: string };

export interface AutosaveOptions<D> {
  edit: number;
  /** `leaving`: the page goes away, the request must outlive it. Rejects with anything. */
  save: (document: D, edit: number, leaving: boolean) => Promise<Stored<D>>;
  /** What a rejection of `save` means. */
  outcome: (error: unknown) => Failure<D>;
  same: (a: D, b: D) => boolean;
  changed: () => void;
  /** where unacknowledged drafts wait, and under which name */
  storage?: Pick<Storage, "getItem" | "setItem" | "removeItem">;
  key: string;
  delay?: number;
  now?: () => number;
}

interface Kept<D> {
  session: string;
  edit: number;
  document: D;
}

const DELAY_MS = 600;
const RETRY_MS = 1_000;
const LONGEST_RETRY_MS = 20_000;

export class Autosave<D> {
  state: SaveState = { kind: "saved", at: null };
  /** edit number of the newest document that the server acknowledged */
  edit: number;
  private readonly session = Math.random().toString(36).slice(2);
  /** what is to be saved; null: everything is */
  private waiting: D | null = null;
  private running: Promise<void> | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private failures = 0;
  private disposed = false;

  constructor(private readonly options: AutosaveOptions<D>) {
    this.edit = options.edit;
  }

  /** Is there anything that the server has not acknowledged? */
  get unsaved(): boolean {
    return this.waiting !== null || this.running !== null;
  }

  private get conflicted(): boolean {
    return this.state.kind === "conflict";
  }

  /** What an earlier visit could not save, if any: the caller offers it or changes to it. */
  kept(): Stored<D> | null {
    try {
      const text = this.options.storage?.getItem(this.options.key);
      return text ? (JSON.parse(text) as Kept<D>) : null;
    } catch {
      return null;
    }
  }

  /** Throw away what an earlier visit kept. */
  forget(): void {
    try {
      this.options.storage?.removeItem(this.options.key);
    } catch {
      // a browser without storage keeps nothing that could be forgotten
    }
  }

  /** The document as it is now. */
  change(document: D): void {
    this.waiting = document;
    this.keep(document);
    if (this.state.kind === "conflict") return; // the person decides first
    this.failures = 0;
    this.set({ kind: "pending" });
    this.schedule(this.options.delay ?? DELAY_MS);
  }

  /** Save now what waits. Resolves when the server has everything, or when it cannot be: look at `state`. */
  async flush(leaving = false): Promise<void> {
    clearTimeout(this.timer);
    if (this.running && !leaving) await this.running;
    if (this.waiting === null || this.conflicted) return;
    await this.run(leaving);
    // edited while that save was under way
    if (this.pending) await this.flush(leaving);
  }

  /** The server's document wins; what was edited here is dropped. */
  takeTheirs(): D | null {
    if (this.state.kind !== "conflict") return null;
    const { edit, document } = this.state.stored as Stored<D>;
    this.waiting = null;
    this.edit = edit;
    this.release();
    this.set({ kind: "saved", at: null });
    return document;
  }

  /** What was edited here is saved on top of the server's. */
  async keepMine(document: D): Promise<void> {
    if (this.state.kind !== "conflict") return;
    this.edit = (this.state.stored as Stored<D>).edit;
    this.set({ kind: "pending" });
    this.waiting = document;
    this.keep(document);
    await this.flush();
  }

  /** The server's document is known to be another one, from elsewhere than a save: a publish, a kept draft. */
  conflictWith(stored: Stored<D>, mine: D): void {
    this.waiting = mine;
    this.keep(mine);
    clearTimeout(this.timer);
    this.set({ kind: "conflict", stored });
  }

  /** Try again at once: the network came back. */
  readonly retry = (): void => {
    if (this.state.kind === "offline" || this.state.kind === "refused") void this.flush();
  };

  /** No further saves; what waits stays kept in the browser. */
  dispose(): void {
    this.disposed = true;
    clearTimeout(this.timer);
  }

  private get pending(): boolean {
    return this.state.kind === "pending";
  }

  private schedule(delay: number): void {
    clearTimeout(this.timer);
    if (this.disposed) return;
    this.timer = setTimeout(() => void this.flush(), delay);
  }

  private run(leaving: boolean): Promise<void> {
    const document = this.waiting;
    if (document === null) return Promise.resolve();
    this.waiting = null;
    this.set({ kind: "saving" });
    const running = this.options
      .save(document, this.edit, leaving)
      .then((stored) => this.acknowledged(stored.edit))
      .catch((error: unknown) => this.failed(this.options.outcome(error), document))
      .finally(() => {
        if (this.running === running) this.running = null;
      });
    this.running = running;
    return running;
  }

  private acknowledged(edit: number): void {
    this.edit = edit;
    this.failures = 0;
    if (this.waiting !== null) {
      this.keep(this.waiting); // on the new number
      this.set({ kind: "pending" });
      return;
    }
    this.release();
    this.set({ kind: "saved", at: (this.options.now ?? Date.now)() });
  }

  private failed(failure: Failure<D>, document: D): void {
    if (failure.kind === "conflict" && this.options.same(failure.stored.document, document)) {
      // our own save arrived, only its answer was lost
      this.acknowledged(failure.stored.edit);
      return;
    }
    this.waiting ??= document;
    if (failure.kind === "offline") {
      this.failures += 1;
      this.schedule(Math.min(LONGEST_RETRY_MS, RETRY_MS * 2 ** (this.failures - 1)));
    }
    this.set(failure);
  }

  private keep(document: D): void {
    const kept: Kept<D> = { session: this.session, edit: this.edit, document };
    try {
      this.options.storage?.setItem(this.options.key, JSON.stringify(kept));
    } catch {
      // full or forbidden: the save itself follows anyway
    }
  }

  /** What is kept is ours and acknowledged; another tab's stays. */
  private release(): void {
    const kept = this.kept() as Kept<D> | null;
    if (kept?.session === this.session) this.forget();
  }

  private set(state: SaveState): void {
    this.state = state;
    this.options.changed();
  }
}

/** One line for people. `now`: milliseconds since 1970. */
export function saveText(state: SaveState, now: number): string {
  switch (state.kind) {
    case "saved": {
      if (state.at === null) return "All saved";
      const seconds = Math.max(0, Math.round((now - state.at) / 1000));
      if (seconds < 2) return "Saved just now";
      return seconds < 60 ? `Saved ${seconds} s ago` : `Saved ${Math.floor(seconds / 60)} min ago`;
    }
    case "pending":
    case "saving":
      return "Saving";
    case "offline":
      return "Offline, kept in this browser";
    case "conflict":
      return "Conflict";
    case "refused":
      return "Not saved";
  }
}
