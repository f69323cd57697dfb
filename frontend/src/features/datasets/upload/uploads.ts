import { ApiError } from "@/api/error";

import { groups, matched, type Found } from "./found";
import { became, goingAlong, isOver, itemOf, Items, sums, type Asked, type Item } from "./items";
import { warnBeforeLeaving } from "./leaving";
import { Looking } from "./looking";
import { Rate } from "./rate";
import { Seen } from "./seen";
import { Slots } from "./slots";
import type { ServerFile, ServerUpload, ServerUploadDetail, Transfer } from "./transfer";

const AT_ONCE = 3; // files whose bytes are under way
const AHEAD = 2; // files more that are made ready meanwhile
const LOOK_MS = 1500; // between two looks at what became of files, however much is said meanwhile
const TELL_MS = 100; // between two words of progress
const NOTHING: Asked = { instruction: "", look_first: false };
const MANY = 500; // items from which on nothing is told at once

export interface Summary {
  readonly items: readonly Item[];
  readonly paused: boolean;
  /** files are being looked for, or are announced */
  readonly preparing: boolean;
  /** why files could not be announced */
  readonly problem: { message: string; errors: string[] } | null;
  /** some wait, are read or are sent */
  readonly underWay: boolean;
  readonly sentBytes: number;
  readonly totalBytes: number;
  readonly bytesPerSecond: number | null;
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
  private readonly items = new Items();
  private paused = false;
  private preparing = 0;
  private problem: Summary["problem"] = null;
  private last: { found: Found[]; asked: Asked } | null = null;
  readonly seen = new Seen();
  private readonly controllers = new Map<string, AbortController>();
  private readonly rate = new Rate();
  private readonly looking: Looking;
  private reading: Promise<unknown> = Promise.resolve();
  private told: ReturnType<typeof setTimeout> | null = null;
  private count = 0;
  private news = false; // something was settled since `changed` was called
  private cancels = 0; // how often all was cancelled: what began before that announces nothing more
  private readonly listeners = new Set<() => void>();
  private readonly slots = new Slots(AT_ONCE);
  private current: Summary = this.summary();

  constructor(
    private readonly datasetId: string,
    private readonly transfer: Transfer,
    /** something came into the dataset, or left the list of the unfinished */
    private readonly changed: () => void = () => undefined,
    lookMs = LOOK_MS,
  ) {
    this.looking = new Looking(
      () => this.items.count("checking") > 0,
      () => this.lookNow(),
      lookMs,
    );
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** Something changed in the studio. */
  readonly look = (): void => this.looking.now();

  readonly snapshot = (): Summary => this.current;

  get active(): boolean {
    return this.preparing > 0 || this.items.underWay;
  }

  /** Resolves when all are listed. */
  async add(found: Found[], asked: Asked = NOTHING): Promise<void> {
    if (found.length === 0) return;
    this.problem = null;
    this.preparing += 1;
    this.tell();
    const cancels = this.cancels;
    const cancelled = () => this.cancels !== cancels;
    try {
      const rest = await this.resumed(found, asked, cancelled);
      for (const group of groups(rest)) if (!cancelled()) await this.announce(group, asked, cancelled);
    } catch (error) {
      this.problem = findings(error);
      this.last = { found, asked };
    } finally {
      this.preparing -= 1;
      this.tell();
      this.news = true;
      this.report();
    }
    this.pump();
    this.look();
  }

  /** What could not be announced, once more. */
  again(): void {
    if (this.last) void this.add(this.last.found, this.last.asked);
  }

  pause(): void {
    this.paused = true;
    for (const controller of this.controllers.values()) controller.abort();
    this.rate.clear();
    this.tell();
  }

  resume(): void {
    this.paused = false;
    this.items.sort("waiting"); // those that were under way first
    this.tell();
    this.pump();
  }

  /** asked: what is said now; of what was refused another instruction may be what it lacked. */
  retry(key: string, asked?: Asked): void {
    const item = this.items.get(key);
    if (item?.state === "failed") {
      this.set(key, { state: "waiting", message: null });
      this.pump();
    } else if (item) {
      // the studio keeps nothing of what it refused: announced anew
      this.items.delete(key);
      if (item.server.kind === "episodes") this.takeBack(this.transfer.cancel(item.server.id));
      void this.add([{ path: item.path, file: item.file }], asked ?? item.asked);
    }
  }

  retryFailed(): void {
    for (const { key } of this.items.in("failed")) this.items.set(key, { state: "waiting", message: null });
    this.tell();
    this.pump();
  }

  /** Take back what has not been taken in. */
  cancel(key: string): void {
    const item = this.items.get(key);
    if (!item || isOver(item)) return;
    this.set(key, { state: "cancelled", message: null });
    this.controllers.get(key)?.abort();
    this.takeBack(this.transfer.cancel(item.server.id));
    this.pump();
  }

  /** With what has arrived of their folders, and without what is still to be announced. */
  cancelAll(): void {
    this.cancels += 1;
    const open = [...this.items.all.filter((item) => !isOver(item)), ...goingAlong(this.items.all)];
    for (const { key } of open) {
      this.items.set(key, { state: "cancelled", message: null });
      this.controllers.get(key)?.abort();
    }
    for (const id of new Set(open.map(({ server }) => server.uploadId))) this.takeBack(this.transfer.cancelUpload(id));
    this.tell();
  }

  private takeBack(cancelling: Promise<void>): void {
    cancelling.catch(() => undefined).finally(this.changed);
  }

  /** Take those out of the list that are finished. What was refused is only hidden: the studio keeps why. */
  clear(): void {
    for (const { server } of this.items.in("refused")) this.seen.note(server.uploadId, 1);
    for (const item of this.items.all) if (isOver(item)) this.items.delete(item.key);
    this.problem = null;
    this.rate.clear();
    this.tell();
  }

  /** An upload was changed beside this list: its files are what the studio says, and those that are gone go. */
  follow(upload: ServerUploadDetail): void {
    const files = new Map(upload.items.map((one) => [one.id, one]));
    for (const { key, server } of this.items.all) {
      if (server.uploadId !== upload.id) continue;
      const now = files.get(server.id);
      if (!now) this.items.delete(key);
      else {
        this.items.set(key, { server: { ...server, kind: upload.kind } });
        if (now.state !== "uploading") this.settle(key, now);
      }
    }
    this.report();
    this.tell();
    this.look();
  }

  forget(uploadId: string): void {
    for (const { key, server } of this.items.all) if (server.uploadId === uploadId) this.items.delete(key);
    this.tell();
  }

  // --- listed -------------------------------------------------------------------------------------------------------

  /** Those of which the studio has a beginning are listed; returns the others. */
  private async resumed(found: Found[], asked: Asked, cancelled: () => boolean): Promise<Found[]> {
    const { begun, rest } = await matched(this.transfer, this.datasetId, found);
    if (cancelled()) return [];
    for (const { one, server, kind } of begun) {
      const listed = this.items.ofServer(server.id);
      if (!listed || isOver(listed) || listed.state === "failed") this.list(one, server, kind, asked);
    }
    return rest;
  }

  private async announce(group: Found[], asked: Asked, cancelled: () => boolean): Promise<void> {
    const files = group.map(({ path, file }) => ({ path, size: file.size }));
    const made = await this.transfer.announce(this.datasetId, { files, ...asked });
    if (cancelled()) {
      await this.transfer.cancelUpload(made.id).catch(() => undefined);
      return;
    }
    const byPath = new Map(made.items.map((one) => [one.path, one]));
    for (const one of group) {
      const server = byPath.get(one.path);
      if (server) this.list(one, server, made.kind, asked);
    }
  }

  private list(one: Found, server: ServerFile, kind: ServerUpload["kind"], asked: Asked): void {
    this.count += 1;
    const item = itemOf(String(this.count), one, server, kind, asked);
    this.items.add(item);
    if (server.state !== "uploading") this.settle(item.key, server);
  }

  // --- sent ---------------------------------------------------------------------------------------------------------

  private pump(): void {
    while (!this.paused && this.controllers.size < AT_ONCE + AHEAD) {
      const next = this.items.first("waiting", ({ key }) => !this.controllers.has(key));
      if (!next) break;
      const controller = new AbortController();
      this.controllers.set(next.key, controller);
      void this.bring(next, controller.signal).finally(() => {
        this.controllers.delete(next.key);
        this.tell();
        this.pump();
      });
    }
  }

  private async bring(item: Item, signal: AbortSignal): Promise<void> {
    try {
      const sha256 = item.sha256 ?? (await this.digest(item, signal));
      const server = await this.agree(item, sha256, signal);
      signal.throwIfAborted();
      if (server.state !== "uploading") {
        this.settle(item.key, server);
        this.report();
        this.look();
        return;
      }
      await this.slots.take(signal);
      try {
        await this.send(item, server, signal);
      } finally {
        this.slots.give();
      }
      this.look(); // what was said of it while it was sent was not heard
    } catch (error) {
      const now = this.items.get(item.key);
      if (!now || now.state === "cancelled") return;
      if (signal.aborted) this.set(item.key, { state: "waiting", retrying: false });
      else this.set(item.key, { state: "failed", retrying: false, ...findings(error) });
    }
  }

  private async send(item: Item, server: ServerFile, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.set(item.key, { state: "sending", done: server.received, before: server.received });
    const progress = (done: number, retrying: boolean) => this.progress(item.key, { done, retrying });
    await this.transfer.send(server.url, item.file, progress, signal);
    this.set(item.key, { state: "checking", done: item.size, retrying: false });
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
    const server = this.items.get(item.key)?.server;
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
      const made = await this.transfer.announce(this.datasetId, { files, ...item.asked });
      const fresh = made.items[0];
      if (!fresh) throw error;
      this.set(item.key, { server: { id: fresh.id, uploadId: made.id, url: fresh.url, kind: made.kind } });
      return fresh;
    }
  }

  // --- what became of them ------------------------------------------------------------------------------------------

  /** What became of the files that the studio looks into? Resolves to whether it did not answer. */
  private async lookNow(): Promise<boolean> {
    let away = false;
    const checking = this.items.in("checking");
    for (const uploadId of new Set(checking.map(({ server }) => server.uploadId))) {
      let files = new Map<string, ServerFile>();
      try {
        files = new Map((await this.transfer.upload(uploadId)).items.map((one) => [one.id, one]));
      } catch (error) {
        if (!(error instanceof ApiError) || error.status !== 404) {
          away = true;
          continue;
        }
      }
      for (const { key, server } of checking) {
        if (server.uploadId !== uploadId || this.items.get(key)?.state !== "checking") continue;
        const now = files.get(server.id);
        if (now) this.settle(key, now);
        else this.set(key, { state: "cancelled" });
      }
    }
    this.report();
    this.pump();
    return away;
  }

  private settle(key: string, server: ServerFile): void {
    const change = became(server, this.items.get(key)?.size ?? 0);
    this.set(key, change);
    if (change.state !== "waiting" && change.state !== "checking") this.news = true;
  }

  /** Once for all that was settled together: what it makes stale is asked for anew each time. */
  private report(): void {
    if (!this.news) return;
    this.news = false;
    this.changed();
  }

  // --- told ---------------------------------------------------------------------------------------------------------

  private set(key: string, change: Partial<Item>): void {
    this.items.set(key, change);
    this.tell();
  }

  /** Told a few times a second however often it comes. */
  private progress(key: string, change: Partial<Item>): void {
    if (this.items.get(key)?.state === "cancelled") return;
    this.items.set(key, change);
    this.told ??= setTimeout(() => this.tellNow(), TELL_MS);
  }

  private tell(): void {
    if (this.items.size > MANY) this.told ??= setTimeout(() => this.tellNow(), TELL_MS);
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
    const { sentBytes, totalBytes, fromHere } = sums(this.items.all);
    const sending = this.items.count("sending") > 0 && !this.paused;
    if (sending) this.rate.note(fromHere, performance.now());
    return {
      items: this.items.all,
      paused: this.paused,
      preparing: this.preparing > 0,
      problem: this.problem,
      underWay: this.items.underWay,
      sentBytes,
      totalBytes,
      bytesPerSecond: sending ? this.rate.bytesPerSecond : null,
    };
  }
}
