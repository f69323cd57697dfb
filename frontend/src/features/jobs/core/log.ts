import type { Schema } from "@/api/client";

type Chunk = Schema<"LogChunk">;

/** The part of a log that the page holds. start and end: bytes; end is where the next chunk is asked from. */
export interface Tail {
  text: string;
  start: number;
  end: number;
  size: number;
}

export const EMPTY: Tail = { text: "", start: 0, end: 0, size: 0 };

/** More than this many characters make the browser slow; the oldest go, "earlier" brings them back. */
export const MOST = 400_000;

/** The tail with `chunk` behind it. A log that became shorter was begun anew: so is the tail. */
export function append(tail: Tail, chunk: Chunk): Tail {
  const continues = tail.end > 0 && chunk.offset === tail.end;
  const begun = continues ? tail.text + chunk.text : chunk.text;
  const start = continues ? tail.start : chunk.offset;
  if (begun.length <= MOST) return { text: begun, start, end: chunk.next_offset, size: chunk.size };
  const cut = begun.indexOf("\n", begun.length - MOST - 1) + 1 || begun.length - MOST;
  const dropped = new TextEncoder().encode(begun.slice(0, cut)).length;
  return { text: begun.slice(cut), start: start + dropped, end: chunk.next_offset, size: chunk.size };
}

/** The tail with `chunk`, which ends where the tail starts, before it. */
export function prepend(tail: Tail, chunk: Chunk): Tail {
  if (chunk.next_offset !== tail.start) return tail;
  return { ...tail, text: chunk.text + tail.text, start: chunk.offset };
}

/** Progress bars write over their line with carriage returns: keep what was last on each line. */
export function settled(text: string): string {
  return text.includes("\r") ? text.replace(/\r+\n/g, "\n").replace(/[^\n]*\r/g, "") : text;
}
