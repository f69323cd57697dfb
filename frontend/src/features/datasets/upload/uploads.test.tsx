import { describe, expect, it, vi } from "vitest";

import { ApiError } from "@/api/error";

import { fromDrop, fromInput, groups, type Found } from "./found";
import { goingAlong } from "./items";
import { Rate } from "./rate";
import { passes, type ServerFile, type ServerUploadDetail, type Transfer } from "./transfer";
import { findings, Uploads } from "./uploads";

const found = (path: string, content = "x"): Found => ({ path, file: new File([content], path) });
const states = (uploads: Uploads) => uploads.snapshot().items.map(({ path, state }) => `${path} ${state}`);

function asksBeforeLeaving(): boolean {
  const leave = new Event("beforeunload", { cancelable: true });
  window.dispatchEvent(leave);
  return leave.defaultPrevented;
}

/** A studio in memory. What is sent is taken in, but "bad" ones. */
class Studio implements Transfer {
  files: ServerFile[] = [];
  announced: string[][] = [];
  said: { instruction?: string; look_first?: boolean }[] = [];
  cancelled: string[] = [];
  sending = 0;
  most = 0;
  known = new Set<string>();
  hold: Promise<void> = Promise.resolve();
  broken: Error | null = null;

  uploads = () =>
    Promise.resolve([...new Set(this.files.map((one) => one.upload_id))].map((id) => ({ ...this.detail(id) })));
  upload = (id: string) => Promise.resolve(this.detail(id));
  cancel = (id: string) => {
    this.cancelled.push(id);
    this.files = this.files.filter((one) => one.id !== id);
    return Promise.resolve();
  };
  cancelUpload = (id: string) => {
    this.cancelled.push(id);
    this.files = this.files.filter((one) => one.upload_id !== id);
    return Promise.resolve();
  };
  digest = (file: File, progress: (done: number) => void) => {
    progress(file.size);
    return file.text();
  };

  announce = (_: string, { files, ...said }: Parameters<Transfer["announce"]>[1]) => {
    const upload = `u${this.announced.length}`;
    this.said.push(said);
    this.announced.push(files.map(({ path }) => path));
    for (const { path, size } of files) this.file(upload, path, size);
    return Promise.resolve(this.detail(upload));
  };

  sayDigest = (id: string, sha256: string, restart = false) => {
    const one = this.of(id);
    if (one.sha256 !== null && one.sha256 !== sha256 && !restart)
      return Promise.reject(new ApiError(409, { code: "conflict", message: "another" }));
    if (restart) one.received = 0;
    one.sha256 = sha256;
    if (this.known.has(sha256)) Object.assign(one, { state: "already_there", message: "there", episode_id: "e9" });
    return Promise.resolve({ ...one });
  };

  send = async (url: string, file: File, progress: (sent: number, retrying: boolean) => void, signal: AbortSignal) => {
    this.sending += 1;
    this.most = Math.max(this.most, this.sending);
    try {
      await Promise.race([
        this.hold,
        new Promise((_, reject) => {
          signal.addEventListener("abort", () => reject(new DOMException("", "AbortError")));
        }),
      ]);
      if (this.broken) throw this.broken;
      progress(file.size, false);
      const one = this.of(url);
      const bad = one.path.includes("bad");
      Object.assign(one, bad ? { state: "refused", message: "no /action" } : { state: "taken_in", episode_id: "e1" });
    } finally {
      this.sending -= 1;
    }
  };

  file(upload: string, path: string, size: number, more: Partial<ServerFile> = {}): ServerFile {
    const id = `f${this.files.length}`;
    const one: ServerFile = {
      ...{ id, upload_id: upload, path, size, received: 0, sha256: null, state: "uploading", message: null },
      ...{ errors: [], warnings: [], episode_id: null, episode_number: 0, url: id },
      ...more,
    };
    this.files.push(one);
    return one;
  }

  private of(id: string): ServerFile {
    const one = this.files.find((each) => each.id === id);
    if (!one) throw new ApiError(404, { code: "not_found", message: "gone" });
    return one;
  }

  private detail(id: string): ServerUploadDetail {
    const items = this.files.filter((one) => one.upload_id === id);
    const uploading = items.filter(({ state }) => state === "uploading").length;
    const kind = items.every(({ path }) => path.endsWith(".hdf5")) ? "episodes" : "folder";
    return { id, kind, mine: true, counts: { uploading }, items } as unknown as ServerUploadDetail;
  }
}

const settled = (uploads: Uploads) =>
  vi.waitFor(() => expect(uploads.snapshot().items.filter(({ state }) => state === "checking")).toEqual([]));

describe("Uploads", () => {
  it("announces, sends three at once, and tells what became of each", async () => {
    const studio = new Studio();
    let go: () => void = () => undefined;
    studio.hold = new Promise((resolve) => (go = resolve));
    const uploads = new Uploads("d", studio, undefined, 1);
    await uploads.add(["a", "b", "bad", "c", "d"].map((name) => found(`${name}.hdf5`, name)));
    expect(studio.announced).toEqual([["a.hdf5", "b.hdf5", "bad.hdf5", "c.hdf5", "d.hdf5"]]);
    await vi.waitFor(() => expect(studio.sending).toBe(3));
    expect(asksBeforeLeaving()).toBe(true);
    go();
    await vi.waitFor(() => expect(uploads.active).toBe(false));
    await settled(uploads);
    expect(studio.most).toBe(3);
    expect(states(uploads)).toEqual([
      "a.hdf5 accepted",
      "b.hdf5 accepted",
      "bad.hdf5 refused",
      "c.hdf5 accepted",
      "d.hdf5 accepted",
    ]);
    expect(uploads.seen.has("u0", 1)).toBe(false);
    uploads.clear();
    expect(uploads.snapshot().items).toEqual([]);
    const later = new Uploads("d", studio).seen; // in another tab
    expect([later.has("u0", 1), later.has("u0", 2)]).toEqual([true, false]);
    expect(studio.cancelled).toEqual([]); // it is only hidden
    expect(asksBeforeLeaving()).toBe(false);
  });

  it("goes on with what a closed page left, and sends nothing that is there", async () => {
    const studio = new Studio();
    studio.file("old", "run/a.hdf5", 1, { received: 1 });
    studio.file("old", "run/b.hdf5", 1, { state: "taken_in", episode_id: "e5" });
    const other = studio.file("old", "run/c.hdf5", 1, { sha256: "y", received: 1 });
    studio.known.add("z");
    const uploads = new Uploads("d", studio, undefined, 1);
    await uploads.add([found("run/a.hdf5"), found("run/b.hdf5"), found("run/c.hdf5"), found("run/d.hdf5", "z")]);
    await vi.waitFor(() => expect(uploads.active).toBe(false));
    await settled(uploads);
    expect(studio.announced).toEqual([["run/d.hdf5"]]);
    expect(other.sha256).toBe("x");
    expect(states(uploads)).toEqual([
      "run/a.hdf5 accepted",
      "run/b.hdf5 accepted",
      "run/c.hdf5 accepted",
      "run/d.hdf5 known",
    ]);
  });

  it("pauses, goes on, breaks off, tries again and cancels", async () => {
    const studio = new Studio();
    studio.hold = new Promise(() => undefined);
    const uploads = new Uploads("d", studio, undefined, 1);
    await uploads.add([found("a.hdf5"), found("b.hdf5", "y")]);
    await vi.waitFor(() => expect(studio.sending).toBe(2));
    uploads.pause();
    await vi.waitFor(() => expect(states(uploads)).toEqual(["a.hdf5 waiting", "b.hdf5 waiting"]));
    studio.hold = Promise.resolve();
    studio.broken = new ApiError(507, { code: "disk_full", message: "The disk is full." });
    uploads.resume();
    await vi.waitFor(() => expect(states(uploads)).toEqual(["a.hdf5 failed", "b.hdf5 failed"]));
    expect(uploads.snapshot().items[0]?.message).toBe("The disk is full.");
    await uploads.add([found("a.hdf5")]); // chosen again: tried again, and not listed twice
    await vi.waitFor(() => expect(states(uploads)).toEqual(["b.hdf5 failed", "a.hdf5 failed"]));
    expect(studio.announced).toHaveLength(1);
    studio.broken = null;
    uploads.cancel("2");
    uploads.retry("3");
    await vi.waitFor(() => expect(states(uploads)).toEqual(["b.hdf5 cancelled", "a.hdf5 accepted"]));
    expect(studio.cancelled).toEqual(["f1"]);
    uploads.clear();
    expect(uploads.snapshot().items).toEqual([]);
    studio.hold = new Promise(() => undefined);
    await uploads.add([found("c.hdf5", "c"), found("d.hdf5", "d")]);
    uploads.cancelAll();
    expect(states(uploads)).toEqual(["c.hdf5 cancelled", "d.hdf5 cancelled"]);
    expect(studio.cancelled).toEqual(["f1", "u1"]);
  });

  it("cancels what has arrived of a folder with the rest of it, and announces nothing more", async () => {
    const studio = new Studio();
    studio.file("old", "set/a.mp4", 1, { state: "staged" });
    studio.file("old", "set/b.mp4", 1);
    studio.file("done", "c.hdf5", 1, { state: "taken_in", episode_id: "e1" });
    studio.file("done", "d.hdf5", 1);
    studio.hold = new Promise(() => undefined);
    const uploads = new Uploads("d", studio, undefined, 1);
    await uploads.add(["set/a.mp4", "set/b.mp4", "c.hdf5", "d.hdf5"].map((path) => found(path)));
    expect(goingAlong(uploads.snapshot().items).map(({ path }) => path)).toEqual(["set/a.mp4"]);
    const adding = uploads.add([found("e/1.mp4")]);
    uploads.cancelAll();
    await adding;
    expect(states(uploads)).toEqual([
      "set/a.mp4 cancelled",
      "set/b.mp4 cancelled",
      "c.hdf5 accepted",
      "d.hdf5 cancelled",
    ]);
    expect(studio.cancelled).toEqual(["old", "done"]);
    expect(studio.announced).toEqual([]);
    let answer: () => void = () => undefined;
    const answered = new Promise<void>((resolve) => (answer = resolve));
    const announce = studio.announce;
    studio.announce = (...said) => announce(...said).then((made) => answered.then(() => made));
    const more = uploads.add([found("g/1.mp4"), found("h/2.mp4")]);
    await vi.waitFor(() => expect(studio.announced).toEqual([["g/1.mp4"]]));
    uploads.cancelAll();
    answer();
    await more;
    expect(studio.announced).toEqual([["g/1.mp4"]]);
    expect(studio.cancelled.at(-1)).toBe("u0");
  });

  it("follows what becomes of a folder beside it", async () => {
    const studio = new Studio();
    const episode = studio.file("old", "set/a.hdf5", 1, { state: "staged" });
    studio.file("old", "set/b.mp4", 1, { state: "staged" });
    studio.file("old", "set/c.mp4", 1);
    const changed = vi.fn();
    const uploads = new Uploads("d", studio, changed, 1);
    await uploads.add([found("set/a.hdf5"), found("set/b.mp4")]);
    expect(states(uploads)).toEqual(["set/a.hdf5 staged", "set/b.mp4 staged"]);
    expect(changed).toHaveBeenCalledOnce();
    episode.state = "received";
    studio.files = [episode];
    uploads.follow(await studio.upload("old"));
    expect(states(uploads)).toEqual(["set/a.hdf5 checking"]);
    episode.state = "taken_in";
    uploads.look(); // the studio said that something changed
    await vi.waitFor(() => expect(states(uploads)).toEqual(["set/a.hdf5 accepted"]));
    uploads.forget("old");
    expect(uploads.snapshot().items).toEqual([]);
  });

  it("has what was refused sent anew, and takes back nothing of a folder", async () => {
    const studio = new Studio();
    const uploads = new Uploads("d", studio, undefined, 1);
    await uploads.add([found("bad.hdf5"), found("set/bad.mp4", "y")]);
    const refused = ["bad.hdf5 refused", "set/bad.mp4 refused"];
    await vi.waitFor(() => expect(states(uploads)).toEqual(refused));
    for (const { key } of uploads.snapshot().items) uploads.retry(key);
    await vi.waitFor(() => expect(studio.announced).toHaveLength(4));
    await vi.waitFor(() => expect(states(uploads)).toEqual(refused));
    expect(studio.cancelled).toEqual(["f0"]);
  });

  it("sends what was refused anew with what is said by then", async () => {
    const studio = new Studio();
    const uploads = new Uploads("d", studio, undefined, 1);
    await uploads.add([found("bad.hdf5")], { instruction: "", look_first: false });
    await vi.waitFor(() => expect(states(uploads)).toEqual(["bad.hdf5 refused"]));
    const now = { instruction: "Fold the shirt.", look_first: true };
    uploads.retry(uploads.snapshot().items[0]?.key ?? "", now);
    await vi.waitFor(() => expect(studio.said).toEqual([{ instruction: "", look_first: false }, now]));
  });

  it("goes on in the order of the list after a pause", async () => {
    const studio = new Studio();
    studio.hold = new Promise(() => undefined);
    const uploads = new Uploads("d", studio, undefined, 1);
    await uploads.add(["a", "b", "c", "d", "e", "f"].map((name) => found(`${name}.hdf5`, name)));
    await vi.waitFor(() => expect(studio.sending).toBe(3));
    uploads.pause();
    await vi.waitFor(() => expect(studio.sending).toBe(0));
    uploads.resume();
    await vi.waitFor(() => expect(studio.sending).toBe(3));
    const sending = uploads.snapshot().items.filter(({ state }) => state === "sending");
    expect(sending.map(({ path }) => path)).toEqual(["a.hdf5", "b.hdf5", "c.hdf5"]);
    uploads.cancelAll();
  });

  it("says why files could not be announced, and tries again", async () => {
    const studio = new Studio();
    const announce = studio.announce;
    studio.announce = () =>
      Promise.reject(new ApiError(507, { code: "disk_full", message: "No room.", fields: { files: "too many" } }));
    const uploads = new Uploads("d", studio, undefined, 1);
    await uploads.add([found("a.hdf5")]);
    expect(uploads.snapshot().problem).toEqual({ message: "No room.", errors: ["too many"] });
    studio.announce = announce;
    uploads.again();
    await vi.waitFor(() => expect(states(uploads)).toEqual(["a.hdf5 accepted"]));
    expect(uploads.snapshot().problem).toBeNull();
  });
});

describe("what was dropped", () => {
  it("lists folders with what lies in them, without what systems leave", async () => {
    const file = (fullPath: string) => ({
      isFile: true,
      fullPath,
      file: (resolve: (file: File) => void) => resolve(new File(["x"], fullPath)),
    });
    const folder = (fullPath: string, inside: unknown[]) => {
      const left = [inside.slice(0, 1), inside.slice(1), []];
      return {
        isFile: false,
        fullPath,
        createReader: () => ({ readEntries: (resolve: (some: unknown[]) => void) => resolve(left.shift() ?? []) }),
      };
    };
    const run = folder("/run", [file("/run/a.hdf5"), folder("/run/more", [file("/run/more/b.mp4")]), file("/run/._c")]);
    const items = [run, file("/d.hdf5"), null].map((entry) => ({ kind: "file", webkitGetAsEntry: () => entry }));
    const paths = (await fromDrop(items as unknown as DataTransferItem[])).map(({ path }) => path);
    expect(paths).toEqual(["run/a.hdf5", "run/more/b.mp4", "d.hdf5"]);
    expect(fromInput([new File([], ".DS_Store"), new File([], "e.h5")]).map(({ path }) => path)).toEqual(["e.h5"]);
  });

  it("sends each folder by itself, loose episodes, and loose others", () => {
    const all = ["a/1.hdf5", "x.hdf5", "a/b/2.mp4", "c/3.hdf5", "y.mp4", "z.H5"].map((path) => found(path));
    expect(groups(all).map((group) => group.map(({ path }) => path))).toEqual([
      ["a/1.hdf5", "a/b/2.mp4"],
      ["x.hdf5", "z.H5"],
      ["c/3.hdf5"],
      ["y.mp4"],
    ]);
  });
});

describe("Rate", () => {
  it("follows the last moments", () => {
    const rate = new Rate();
    rate.note(0, 0);
    expect(rate.bytesPerSecond).toBeNull();
    for (let second = 1; second <= 30; second += 1) rate.note(second <= 10 ? 1000 * second : 10_000, 1000 * second);
    expect(rate.bytesPerSecond).toBe(0);
    rate.note(500, 31_000);
    expect(rate.bytesPerSecond).toBeNull();
  });
});

describe("what is tried again by itself", () => {
  it("is what passes", () => {
    expect([0, 409, 423, 429, 500, 502, 503].every(passes)).toBe(true);
    expect([400, 401, 403, 404, 410, 413, 422, 507].some(passes)).toBe(false);
  });

  it("findings leave out what the message says", () => {
    const error = new ApiError(422, { code: "x", message: "a: bad", fields: { a: "bad", b: "worse" } });
    expect(findings(error)).toEqual({ message: "a: bad", errors: ["worse"] });
    expect(findings(new Error("odd"))).toEqual({ message: "odd", errors: [] });
  });
});
