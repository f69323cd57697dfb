import type { Found } from "./found";
import type { ServerFile, ServerUpload } from "./transfer";

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

/** What is said with files that are sent. */
export interface Asked {
  /** for those that have none of their own */
  readonly instruction: string;
  /** HDF5 files too wait for an import, which shows them and asks what they do not say */
  readonly look_first: boolean;
}

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
  readonly asked: Asked;
  readonly sha256: string | null;
  /** the studio's file that it is sent to */
  readonly server: { id: string; uploadId: string; url: string; kind: ServerUpload["kind"] };
}

const UNDER_WAY = ["waiting", "reading", "sending"] as const;
const OVER: ReadonlySet<ItemState> = new Set(["accepted", "known", "staged", "refused", "cancelled"]);

export const isOver = ({ state }: Item): boolean => OVER.has(state);

/** Files that have arrived and go when what is open of their uploads is cancelled. */
export function goingAlong(items: readonly Item[]): Item[] {
  const open = new Set(items.filter((item) => !isOver(item)).map(({ server }) => server.uploadId));
  return items.filter(({ state, server }) => state === "staged" && open.has(server.uploadId));
}

const STATES = { taken_in: "accepted", already_there: "known", staged: "staged", refused: "refused" } as const;

/** What the studio says became of a file of `size` bytes. */
export function became(server: ServerFile, size: number): Partial<Item> {
  const { state, message, errors, warnings, episode_id, episode_number } = server;
  if (state === "uploading") return { state: "waiting", done: 0 }; // after a restore the studio lacks what it had
  if (state === "received") return { state: "checking", done: size, message };
  const episode = episode_id === null ? null : { id: episode_id, number: episode_number };
  return { state: STATES[state], message, errors, warnings, episode };
}

/** A file that waits to be sent to `server`. */
export function itemOf(
  key: string,
  { path, file }: Found,
  { id, upload_id, url }: ServerFile,
  kind: ServerUpload["kind"],
  asked: Asked,
): Item {
  return {
    ...{ key, path, size: file.size, file, asked, state: "waiting", done: 0, before: file.size, retrying: false },
    ...{ message: null, errors: [], warnings: [], episode: null, sha256: null },
    server: { id, uploadId: upload_id, url, kind },
  };
}

const SENT: ReadonlySet<ItemState> = new Set(["checking", "accepted", "staged"]);
const NOT_COUNTED: ReadonlySet<ItemState> = new Set(["cancelled", "refused", "known"]);

/** Bytes of what counts: that are there, in all, and that were sent from here. */
export function sums(items: readonly Item[]): { sentBytes: number; totalBytes: number; fromHere: number } {
  let [sentBytes, totalBytes, fromHere] = [0, 0, 0];
  for (const { state, size, done, before } of items) {
    if (NOT_COUNTED.has(state)) continue;
    const there = state === "sending" ? done : SENT.has(state) ? size : 0;
    totalBytes += size;
    sentBytes += there;
    fromHere += Math.max(0, there - before);
  }
  return { sentBytes, totalBytes, fromHere };
}

/** Files by key, by the studio's id and by state: thousands of them, each changed many times. */
export class Items {
  private readonly byKey = new Map<string, Item>();
  private readonly byServer = new Map<string, string>();
  private readonly byState = new Map<ItemState, Set<string>>();
  private listed: readonly Item[] | null = null;

  /** As they were listed; the same array until one is changed. */
  get all(): readonly Item[] {
    return (this.listed ??= [...this.byKey.values()]);
  }

  get size(): number {
    return this.byKey.size;
  }

  get underWay(): boolean {
    return UNDER_WAY.some((state) => this.count(state) > 0);
  }

  get(key: string): Item | undefined {
    return this.byKey.get(key);
  }

  ofServer(fileId: string): Item | undefined {
    const key = this.byServer.get(fileId);
    return key === undefined ? undefined : this.byKey.get(key);
  }

  count(state: ItemState): number {
    return this.byState.get(state)?.size ?? 0;
  }

  /** The first one that `fits`, of those that have been in this state for longest. */
  first(state: ItemState, fits: (item: Item) => boolean): Item | undefined {
    for (const key of this.byState.get(state) ?? []) {
      const item = this.byKey.get(key);
      if (item && fits(item)) return item;
    }
    return undefined;
  }

  in(state: ItemState): Item[] {
    return [...(this.byState.get(state) ?? [])].flatMap((key) => this.byKey.get(key) ?? []);
  }

  /** In the place of the one that stands for the same file of the studio, if there is one. */
  add(item: Item): void {
    const same = this.ofServer(item.server.id);
    if (same) this.delete(same.key);
    this.put(item);
  }

  set(key: string, change: Partial<Omit<Item, "key">>): void {
    const item = this.byKey.get(key);
    if (!item) return;
    if (change.state !== undefined && change.state !== item.state) this.byState.get(item.state)?.delete(key);
    if (change.server && change.server.id !== item.server.id) this.byServer.delete(item.server.id);
    this.put({ ...item, ...change });
  }

  delete(key: string): void {
    const item = this.byKey.get(key);
    if (!item) return;
    this.byKey.delete(key);
    this.byServer.delete(item.server.id);
    this.byState.get(item.state)?.delete(key);
    this.listed = null;
  }

  /** Those of a state as they were listed, whenever they came to it. */
  sort(state: ItemState): void {
    this.byState.set(state, new Set([...(this.byState.get(state) ?? [])].sort((a, b) => Number(a) - Number(b))));
  }

  private put(item: Item): void {
    this.byKey.set(item.key, item);
    this.byServer.set(item.server.id, item.key);
    const keys = this.byState.get(item.state);
    if (keys) keys.add(item.key);
    else this.byState.set(item.state, new Set([item.key]));
    this.listed = null;
  }
}
