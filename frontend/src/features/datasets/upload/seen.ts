const KEY = "uploads-seen";
const MOST = 200; // uploads, the last ones: the studio forgets them after some days

function stored(): [string, number][] {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "[]") as unknown;
    return Array.isArray(kept) ? (kept as [string, number][]) : [];
  } catch {
    return []; // a browser without storage, or of an older page
  }
}

/** Refusals that somebody has put away in this browser, by upload: how many of it. The studio has them still. */
export class Seen {
  private readonly counts = new Map(stored());

  note(uploadId: string, refused: number): void {
    const count = (this.counts.get(uploadId) ?? 0) + refused;
    this.counts.delete(uploadId);
    this.counts.set(uploadId, count);
    try {
      localStorage.setItem(KEY, JSON.stringify([...this.counts].slice(-MOST)));
    } catch {
      // they are told again in the next tab
    }
  }

  has(uploadId: string, refused: number): boolean {
    return (this.counts.get(uploadId) ?? 0) >= refused;
  }
}
