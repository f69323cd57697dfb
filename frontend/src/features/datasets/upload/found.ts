/** Files as somebody dropped or chose them, with the folders that they came in. */
export interface Found {
  /** relative, folders separated by /: "run 1/videos/top.mp4" */
  path: string;
  file: File;
}

/** What systems leave in folders by themselves, and nobody means to send. */
const LEFTOVERS = new Set([".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX", ".git"]);
const EPISODE = /\.(hdf5|h5|he5)$/i;

export function isEpisode(path: string): boolean {
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
