import type { ServerFile, ServerUpload, Transfer } from "./transfer";

/** Files as somebody dropped or chose them, with the folders that they came in. */
export interface Found {
  /** relative, folders separated by /: "run 1/videos/top.mp4" */
  path: string;
  file: File;
}

/** What systems leave in folders by themselves, and nobody means to send. */
const LEFTOVERS = new Set([".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX", ".git"]);
const EPISODE = /\.(hdf5|h5|he5)$/i;

function isEpisode(path: string): boolean {
  const name = path.slice(path.lastIndexOf("/") + 1);
  return EPISODE.test(name) && !name.startsWith(".");
}

function isLeftover(path: string): boolean {
  return path.split("/").some((part) => LEFTOVERS.has(part) || part.startsWith("._"));
}

/** Of an input; one with `webkitdirectory` says the folders. */
export function fromInput(files: Iterable<File>): Found[] {
  return [...files]
    .map((file) => ({ path: file.webkitRelativePath || file.name, file }))
    .filter(({ path }) => !isLeftover(path));
}

/** Of a drop, folders with all that lies in them. The items have to be asked before the event is over. */
export function fromDrop(items: Iterable<DataTransferItem>): Promise<Found[]> {
  const entries = [...items].flatMap((item) => {
    const entry = item.kind === "file" ? item.webkitGetAsEntry() : null;
    return entry === null ? [] : [entry];
  });
  return Promise.all(entries.map(walk)).then((found) => found.flat().filter(({ path }) => !isLeftover(path)));
}

async function walk(entry: FileSystemEntry): Promise<Found[]> {
  const path = entry.fullPath.replace(/^\/+/, "");
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
    return [{ path, file }];
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const inside: FileSystemEntry[] = [];
  for (;;) {
    // a browser hands out a hundred at a time, and none when it is done
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) break;
    inside.push(...some);
  }
  const found: Found[] = [];
  for (const one of inside) found.push(...(await walk(one)));
  return found;
}

/**
 * What is sent together: each folder by itself, as its files may only together say something; loose HDF5 files; loose
 * others.
 */
export function groups(found: Found[]): Found[][] {
  const made = new Map<string, Found[]>();
  for (const one of found) {
    const folder = one.path.includes("/") ? `/${one.path.split("/", 1)[0] ?? ""}` : isEpisode(one.path) ? "h" : "o";
    const group = made.get(folder);
    if (group) group.push(one);
    else made.set(folder, [one]);
  }
  return [...made.values()];
}

export interface Begun {
  one: Found;
  server: ServerFile;
  kind: ServerUpload["kind"];
}

/** Which of them the studio has a beginning of, by path and size, in an upload of mine; the rest it has to be told of. */
export async function matched(
  transfer: Transfer,
  datasetId: string,
  found: Found[],
): Promise<{ begun: Begun[]; rest: Found[] }> {
  const begun: Begun[] = [];
  let rest = found;
  for (const { id, kind, mine, counts } of await transfer.uploads(datasetId)) {
    if (!mine || (counts.uploading ?? 0) === 0) continue;
    const there = new Map((await transfer.upload(id)).items.map((one) => [`${one.size} ${one.path}`, one]));
    const left: Found[] = [];
    for (const one of rest) {
      const key = `${one.file.size} ${one.path}`;
      const server = there.get(key);
      if (!server || server.state === "refused") left.push(one);
      else begun.push({ one, server, kind });
      there.delete(key);
    }
    rest = left;
  }
  return { begun, rest };
}
