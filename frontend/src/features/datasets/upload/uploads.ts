import { ApiError } from "@/api/error";

import { groups, type Found } from "./found";
import { Rate } from "./rate";
import type { ServerFile, ServerUploadDetail, Transfer } from "./transfer";

const AT_ONCE = 3; // files whose bytes are under way
const AHEAD = 2; // files more that are made ready meanwhile
const POLL_MS = 1500;
const TELL_MS = 100; // between two words of progress
const MANY = 500; // items from which on nothing is told at once

export type ItemState =
  | "waiting"
  /** its checksum is computed */
  | "reading"
  | "sending"
  /** all bytes are there, the studio looks into the file */
  | "checking"
  | "accepted"
  /** the dataset has it already */
  | "known"
  /** a file of a folder that waits for an import */
  | "staged"
  | "refused"
  /** the line or the studio is away, the disk is full: it can go on */
  | "failed"
  | "cancelled";

export interface Item {
  readonly key: string;
  readonly path: string;
  readonly size: number;
  readonly file: File;
  readonly state: ItemState;
  /** bytes that are there, or while reading: that were read */
  readonly done: number;
  /** bytes of it that were there before it was sent from here */
  readonly before: number;
  readonly retrying: boolean;
  readonly message: string | null;
  readonly errors: readonly string[];
  readonly warnings: readonly string[];
  readonly episode: { id: string; number: number | null } | null;
  /** for a file that has none of its own */
  readonly instruction: string;
  readonly sha256: string | null;
  /** the studio's file that it is sent to */
  readonly server: { id: string; uploadId: string; url: string } | null;
}

export interface Summary {
  readonly items: readonly Item[];
  readonly paused: boolean;
  /** files are being looked for, or are announced */
  readonly preparing: boolean;
  /** why files could not be announced */
  readonly problem: { message: string; errors: string[] } | null;
  readonly sentBytes: number;
  readonly totalBytes: number;
  readonly bytesPerSecond: number | null;
}

const UNDER_WAY: ReadonlySet<ItemState> = new Set(["waiting", "reading", "sending"]);
const OVER: ReadonlySet<ItemState> = new Set(["accepted", "known", "staged", "refused", "cancelled"]);

export const underWay = ({ state }: Item): boolean => UNDER_WAY.has(state);
export const isOver = ({ state }: Item): boolean => OVER.has(state);

/** Files that have arrived and go when what is open of their uploads is cancelled. */
export function goingAlong(items: readonly Item[]): Item[] {
  const open = new Set(items.filter((item) => !isOver(item)).map(({ server }) => server?.uploadId));
  return items.filter(({ state, server }) => state === "staged" && server !== null && open.has(server.uploadId));
}

/** The check's findings from an error, without those that its message says already. */
export function findings(error: unknown): { message: string; errors: string[] } {
  const message = error instanceof Error ? error.message : String(error);
  if (!(error instanceof ApiError)) return { message, errors: [] };
  return { message, errors: Object.values(error.fields).filter((each) => !message.includes(each)) };
}

/**
 * The uploads of one dataset. They go on while other pages are looked at; what a closed tab left the studio remembers,
 * and the same files, added again, go on from there.
 */
export class Uploads {
  private items: readonly Item[] = [];
  private paused = false;
  private preparing = 0;
  private problem: Summary["problem"] = null;
  private last: { found: Found[]; instruction: string } | null = null;
  /** uploads whose refusals somebody has seen and put away */
  readonly seen = new Set<string>();
  private readonly controllers = new Map<string, AbortController>();
  private readonly rate = new Rate();
  private reading: Promise<unknown> = Promise.resolve();
  private polling = false;
  private told: ReturnType<typeof setTimeout> | null = null;
  private count = 0;
  private news = false; // something was settled since `changed` was called
  private cancels = 0; // how often all was cancelled: what began before that announces nothing more
  private readonly listeners = new Set<() => void>();
  private current: Summary = this.summary();

  constructor(
    private readonly datasetId: string,
    private readonly transfer: Transfer,
    /** something came into the dataset, or left the list of the unfinished */
    private readonly changed: () => void = () => undefined,
    private readonly pollMs = POLL_MS,
  ) {}

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly snapshot = (): Summary => this.current;

  get active(): boolean {
    return this.preparing > 0 || this.items.some(underWay);
  }

  /** instruction: of files that have none of their own. Resolves when all are listed. */
  async add(found: Found[], instruction = ""): Promise<void> {
    if (found.length === 0) return;
    this.problem = null;
    this.preparing += 1;
    this.tell();
    const cancels = this.cancels;
    const cancelled = () => this.cancels !== cancels;
    try {
      const rest = await this.resumed(found, instruction, cancelled);
      for (const group of groups(rest)) if (!cancelled()) await this.announce(group, instruction, cancelled);
    } catch (error) {
      this.problem = findings(error);
      this.last = { found, instruction };
    } finally {
      this.preparing -= 1;
      this.tell();
      this.news = true;
      this.report();
    }
    this.pump();
  }

  /** What could not be announced, once more. */
  again(): void {
    if (this.last) void this.add(this.last.found, this.last.instruction);
  }

  pause(): void {
    this.paused = true;
    for (const controller of this.controllers.values()) controller.abort();
    this.rate.clear();
    this.tell();
  }

  resume(): void {
    this.paused = false;
    this.tell();
    this.pump();
  }

  retry(key: string): void {
    const item = this.of(key);
    if (!item) return;
    if (item.state === "failed") {
      this.set(key, { state: "waiting", message: null });
      this.pump();
    } else {
      // the studio keeps nothing of what it refused: announced anew
      this.items = this.items.filter((each) => each.key !== key);
      void this.dismiss([item]);
      void this.add([{ path: item.path, file: item.file }], item.instruction);
    }
  }

  retryFailed(): void {
    for (const { key, state } of this.items) if (state === "failed") this.set(key, { state: "waiting", message: null });
    this.pump();
  }

  /** Take back what has not been taken in. */
  cancel(key: string): void {
    const item = this.of(key);
    if (!item || isOver(item)) return;
    this.set(key, { state: "cancelled", message: null });
    this.controllers.get(key)?.abort();
    if (item.server)
      this.transfer
        .cancel(item.server.id)
        .catch(() => undefined)
        .finally(this.changed);
    this.pump();
  }

  /** With what has arrived of their folders, and without what is still to be announced. */
  cancelAll(): void {
    this.cancels += 1;
    const along = goingAlong(this.items);
    const open = [...this.items.filter((item) => !isOver(item)), ...along];
    const uploads = new Set(open.flatMap(({ server }) => (server ? [server.uploadId] : [])));
    const keys = new Set(open.map(({ key }) => key));
    this.items = this.items.map((item) => (keys.has(item.key) ? { ...item, state: "cancelled", message: null } : item));
    for (const { key } of open) this.controllers.get(key)?.abort();
    for (const id of uploads)
      this.transfer
        .cancelUpload(id)
        .catch(() => undefined)
        .finally(this.changed);
    this.tell();
  }

  /** Take those out of the list that are finished. */
  clear(): void {
    void this.dismiss(this.items.filter(({ state }) => state === "refused"));
    this.items = this.items.filter((item) => !isOver(item));
    this.problem = null;
    this.rate.clear();
    this.tell();
  }

  /** Refusals that somebody has seen: the studio need not tell of them any more. */
  private async dismiss(refused: readonly Item[]): Promise<void> {
    for (const { server } of refused) if (server) this.seen.add(server.uploadId);
    for (const { server } of refused) if (server) await this.transfer.cancel(server.id).catch(() => undefined);
    if (refused.length > 0) this.changed();
  }

  /** An upload was changed beside this list: its files are what the studio says, and those that are gone go. */
  follow(upload: ServerUploadDetail): void {
    const files = new Map(upload.items.map((one) => [one.id, one]));
    this.items = this.items.filter(({ server }) => server?.uploadId !== upload.id || files.has(server.id));
    for (const { key, server } of this.items) {
      const now = server?.uploadId === upload.id ? files.get(server.id) : undefined;
      if (now && now.state !== "uploading") this.settle(key, now);
    }
    this.report();
    this.tell();
    this.poll();
  }

  forget(uploadId: string): void {
    this.items = this.items.filter(({ server }) => server?.uploadId !== uploadId);
    this.tell();
  }

  // --- listed -------------------------------------------------------------------------------------------------------

  /** Those of which the studio has a beginning are listed; returns the others. */
  private async resumed(found: Found[], instruction: string, cancelled: () => boolean): Promise<Found[]> {
    const unfinished = (await this.transfer.uploads(this.datasetId)).filter(
      ({ mine, counts }) => mine && (counts.uploading ?? 0) > 0,
    );
    let rest = found;
    for (const { id } of unfinished) {
      const there = new Map((await this.transfer.upload(id)).items.map((one) => [`${one.size} ${one.path}`, one]));
      if (cancelled()) return [];
      const left: Found[] = [];
      for (const one of rest) {
        const key = `${one.file.size} ${one.path}`;
        const server = there.get(key);
        const listed =
          server &&
          this.items.some((item) => item.server?.id === server.id && !isOver(item) && item.state !== "failed");
        if (!server || server.state === "refused") left.push(one);
        else if (!listed) this.list(one, server, instruction);
        if (server) there.delete(key);
      }
      rest = left;
    }
    return rest;
  }

  private async announce(group: Found[], instruction: string, cancelled: () => boolean): Promise<void> {
    const files = group.map(({ path, file }) => ({ path, size: file.size }));
    const made = await this.transfer.announce(this.datasetId, { files, instruction });
    if (cancelled()) {
      await this.transfer.cancelUpload(made.id).catch(() => undefined);
      return;
    }
    const byPath = new Map(made.items.map((one) => [one.path, one]));
    for (const one of group) {
      const server = byPath.get(one.path);
      if (server) this.list(one, server, instruction);
    }
  }

  private list({ path, file }: Found, server: ServerFile, instruction: string): void {
    this.count += 1;
    const item: Item = {
      key: String(this.count),
      path,
      size: file.size,
      file,
      state: "waiting",
      done: 0,
      before: file.size,
      retrying: false,
      message: null,
      errors: [],
      warnings: [],
      episode: null,
      instruction,
      sha256: null,
      server: { id: server.id, uploadId: server.upload_id, url: server.url },
    };
    if (this.items.some((each) => each.server?.id === server.id))
      this.items = this.items.filter((each) => each.server?.id !== server.id);
    this.items = [...this.items, item];
    if (server.state !== "uploading") this.settle(item.key, server);
  }

  // --- sent ---------------------------------------------------------------------------------------------------------

  private pump(): void {
    while (!this.paused && this.controllers.size < AT_ONCE + AHEAD) {
      const next = this.items.find(({ key, state }) => state === "waiting" && !this.controllers.has(key));
      if (!next) break;
      const controller = new AbortController();
      this.controllers.set(next.key, controller);
      void this.bring(next, controller.signal).finally(() => {
        this.controllers.delete(next.key);
        this.tell();
        this.pump();
      });
    }
    this.poll();
  }

  private async bring(item: Item, signal: AbortSignal): Promise<void> {
    try {
      const sha256 = item.sha256 ?? (await this.digest(item, signal));
      const server = await this.agree(item, sha256, signal);
      signal.throwIfAborted();
      if (server.state !== "uploading") {
        this.settle(item.key, server);
        this.report();
        return;
      }
      await this.slot(signal);
      this.set(item.key, { state: "sending", done: server.received, before: server.received });
      await this.transfer.send(
        server.url,
        item.file,
        (done, retrying) => this.progress(item.key, { done, retrying }),
        signal,
      );
      this.set(item.key, { state: "checking", done: item.size, retrying: false });
    } catch (error) {
      const now = this.of(item.key);
      if (!now || now.state === "cancelled") return;
      if (signal.aborted) this.set(item.key, { state: "waiting", retrying: false });
      else this.set(item.key, { state: "failed", retrying: false, ...findings(error) });
    }
  }

  /** One file is read at a time: a disk is quickest so, and the line is busy with those before it. */
  private async digest(item: Item, signal: AbortSignal): Promise<string> {
    const before = this.reading;
    const mine = before.then(() => {
      signal.throwIfAborted();
      this.set(item.key, { state: "reading", done: 0 });
      return this.transfer.digest(item.file, (done) => this.progress(item.key, { done }), signal);
    });
    this.reading = mine.catch(() => undefined);
    const sha256 = await mine;
    signal.throwIfAborted(); // one that was cancelled meanwhile does not wait again
    this.set(item.key, { state: "waiting", done: 0, sha256 });
    return sha256;
  }

  /** The studio's file for this content. What came of another file of the same name and size is given up. */
  private async agree(item: Item, sha256: string, signal: AbortSignal): Promise<ServerFile> {
    const server = this.of(item.key)?.server;
    if (!server) throw new DOMException("cancelled", "AbortError");
    try {
      return await this.transfer.sayDigest(server.id, sha256);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 409) return this.transfer.sayDigest(server.id, sha256, true);
      if (error.status !== 404) throw error;
      signal.throwIfAborted();
      // cancelled elsewhere, or its days were over
      const files = [{ path: item.path, size: item.size, sha256 }];
      const fresh = (await this.transfer.announce(this.datasetId, { files, instruction: item.instruction })).items[0];
      if (!fresh) throw error;
      this.set(item.key, { server: { id: fresh.id, uploadId: fresh.upload_id, url: fresh.url } });
      return fresh;
    }
  }

  private async slot(signal: AbortSignal): Promise<void> {
    while (this.items.filter(({ state }) => state === "sending").length >= AT_ONCE) {
      await new Promise<void>((resolve) => {
        const stop = this.subscribe(() => {
          stop();
          resolve();
        });
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
      signal.throwIfAborted();
    }
  }

  // --- what became of them ------------------------------------------------------------------------------------------

  private poll(): void {
    if (this.polling || !this.items.some(({ state }) => state === "checking")) return;
    this.polling = true;
    setTimeout(() => {
      void this.look().finally(() => {
        this.polling = false;
        this.poll();
      });
    }, this.pollMs);
  }

  private async look(): Promise<void> {
    const checking = this.items.filter(({ state }) => state === "checking");
    for (const uploadId of new Set(checking.map(({ server }) => server?.uploadId))) {
      if (uploadId === undefined) continue;
      try {
        const files = new Map((await this.transfer.upload(uploadId)).items.map((one) => [one.id, one]));
        for (const { key, server } of checking) {
          if (server?.uploadId !== uploadId) continue;
          const now = files.get(server.id);
          if (now) this.settle(key, now);
          else this.set(key, { state: "cancelled" });
        }
      } catch (error) {
        const gone = error instanceof ApiError && error.status === 404;
        for (const { key, server } of checking)
          if (gone && server?.uploadId === uploadId) this.set(key, { state: "cancelled" });
      }
    }
    this.report();
  }

  private settle(key: string, server: ServerFile): void {
    const { message, errors, warnings, episode_id, episode_number } = server;
    const episode = episode_id === null ? null : { id: episode_id, number: episode_number };
    const said = { message, errors, warnings, episode };
    switch (server.state) {
      case "uploading": {
        // after a restore the studio lacks what it had
        this.set(key, { state: "waiting", done: 0 });
        return;
      }
      case "received": {
        this.set(key, { state: "checking", done: this.of(key)?.size ?? 0, message });
        return;
      }
      case "taken_in":
        this.set(key, { state: "accepted", ...said });
        break;
      case "already_there":
        this.set(key, { state: "known", ...said });
        break;
      case "staged":
        this.set(key, { state: "staged", ...said });
        break;
      case "refused":
        this.set(key, { state: "refused", ...said });
        break;
    }
    this.news = true;
  }

  /** Once for all that was settled together: what it makes stale is asked for anew each time. */
  private report(): void {
    if (!this.news) return;
    this.news = false;
    this.changed();
  }

  // --- told ---------------------------------------------------------------------------------------------------------

  private of(key: string): Item | undefined {
    return this.items.find((item) => item.key === key);
  }

  private set(key: string, change: Partial<Item>): void {
    this.items = this.items.map((item) => (item.key === key ? { ...item, ...change } : item));
    this.tell();
  }

  /** Told a few times a second however often it comes. */
  private progress(key: string, change: Partial<Item>): void {
    const item = this.of(key);
    if (!item || item.state === "cancelled") return;
    this.items = this.items.map((each) => (each.key === key ? { ...each, ...change } : each));
    this.told ??= setTimeout(() => this.tellNow(), TELL_MS);
  }

  private tell(): void {
    if (this.items.length > MANY) this.told ??= setTimeout(() => this.tellNow(), TELL_MS);
    else this.tellNow();
  }

  private tellNow(): void {
    if (this.told !== null) clearTimeout(this.told);
    this.told = null;
    this.current = this.summary();
    for (const listener of [...this.listeners]) listener();
    warnBeforeLeaving(this, this.active);
  }

  private summary(): Summary {
    const counted = this.items.filter(({ state }) => state !== "cancelled" && state !== "refused" && state !== "known");
    let sentBytes = 0;
    let fromHere = 0;
    for (const item of counted) {
      const there = item.state === "sending" ? item.done : isSent(item) ? item.size : 0;
      sentBytes += there;
      fromHere += Math.max(0, there - item.before);
    }
    const sending = this.items.some(({ state }) => state === "sending");
    if (sending && !this.paused) this.rate.note(fromHere, performance.now());
    return {
      items: this.items,
      paused: this.paused,
      preparing: this.preparing > 0,
      problem: this.problem,
      sentBytes,
      totalBytes: counted.reduce((sum, { size }) => sum + size, 0),
      bytesPerSecond: sending && !this.paused ? this.rate.bytesPerSecond : null,
    };
  }
}

function isSent({ state }: Item): boolean {
  return state === "checking" || state === "accepted" || state === "staged";
}

const active = new Set<Uploads>();

function ask(event: BeforeUnloadEvent): void {
  event.preventDefault();
}

/** Leaving the page ends what is being sent, wherever in the page one is. */
function warnBeforeLeaving(uploads: Uploads, sending: boolean): void {
  const before = active.size;
  if (sending) active.add(uploads);
  else active.delete(uploads);
  if (before === 0 && active.size > 0) window.addEventListener("beforeunload", ask);
  if (before > 0 && active.size === 0) window.removeEventListener("beforeunload", ask);
}
