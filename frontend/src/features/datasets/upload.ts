import { ApiError, errorFrom, unreachable } from "@/api/error";
import type { Schema } from "@/api/client";

export type Upload =
  | { state: "waiting" }
  /** share: of the bytes that were sent, 0 .. 1 */
  | { state: "sending"; share: number }
  /** all bytes are there, the server looks into the file */
  | { state: "checking" }
  | { state: "accepted"; episode: Schema<"EpisodeOut">; warnings: string[] }
  | { state: "refused"; message: string; errors: string[] }
  | { state: "cancelled" };

export interface UploadItem {
  readonly key: string;
  readonly file: File;
  readonly upload: Upload;
}

export type Send = (
  file: File,
  progress: (upload: Upload) => void,
  signal: AbortSignal,
) => Promise<Schema<"UploadResult">>;

/**
 * A file as the body of POST /api/datasets/{id}/episodes. XMLHttpRequest: fetch tells nothing of what was sent.
 * instruction: for files that have none of their own, asked when a file is sent.
 */
export function sendTo(datasetId: string, instruction: () => string = () => ""): Send {
  return (file, progress, signal) =>
    new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      const asked = new URLSearchParams({ name: file.name.slice(0, 256) });
      if (instruction().trim()) asked.set("instruction", instruction().trim());
      request.open("POST", `/api/datasets/${datasetId}/episodes?${asked.toString()}`);
      request.setRequestHeader("Content-Type", "application/octet-stream");
      request.responseType = "json";
      request.upload.onprogress = ({ loaded, total }) =>
        progress({ state: "sending", share: total > 0 ? loaded / total : 0 });
      request.upload.onload = () => progress({ state: "checking" });
      request.onload = () => {
        if (request.status < 300) resolve(request.response as Schema<"UploadResult">);
        else reject(errorFrom(request.status, request.response));
      };
      request.onerror = () => reject(unreachable());
      request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
      signal.addEventListener("abort", () => request.abort());
      request.send(file);
    });
}

/** The check's findings from an error, without those that its message says already. */
export function findings(error: unknown): { message: string; errors: string[] } {
  const message = error instanceof Error ? error.message : String(error);
  if (!(error instanceof ApiError)) return { message, errors: [] };
  const detail = error.detail;
  const listed =
    typeof detail === "object" && detail !== null && "errors" in detail && Array.isArray(detail.errors)
      ? detail.errors.map(String)
      : Array.isArray(detail)
        ? detail.map(String)
        : [];
  return { message, errors: [...listed, ...Object.values(error.fields)].filter((each) => !message.includes(each)) };
}

/** Files that are sent one after the other, so that each has the whole line and the server checks one at a time. */
export class Uploads {
  items: readonly UploadItem[] = [];
  private running: { key: string; controller: AbortController } | null = null;
  private count = 0;
  private readonly listeners = new Set<() => void>();

  constructor(
    private readonly send: Send,
    private readonly accepted: () => void = () => undefined,
  ) {}

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly snapshot = (): readonly UploadItem[] => this.items;

  add(files: Iterable<File>): void {
    const fresh = [...files].map((file): UploadItem => {
      this.count += 1;
      return { key: String(this.count), file, upload: { state: "waiting" } };
    });
    this.set([...this.items, ...fresh]);
    void this.next();
  }

  cancel(key: string): void {
    if (this.running?.key === key) this.running.controller.abort();
    else this.update(key, { state: "cancelled" });
  }

  retry(key: string): void {
    this.update(key, { state: "waiting" });
    void this.next();
  }

  /** Take those out of the list that are finished. */
  clear(): void {
    this.set(this.items.filter(({ upload }) => ["waiting", "sending", "checking"].includes(upload.state)));
  }

  private async next(): Promise<void> {
    if (this.running) return;
    const item = this.items.find(({ upload }) => upload.state === "waiting");
    if (!item) return;
    const controller = new AbortController();
    this.running = { key: item.key, controller };
    this.update(item.key, { state: "sending", share: 0 });
    try {
      const { episode, warnings } = await this.send(
        item.file,
        (upload) => this.update(item.key, upload),
        controller.signal,
      );
      this.update(item.key, { state: "accepted", episode, warnings });
      this.accepted();
    } catch (error) {
      this.update(
        item.key,
        controller.signal.aborted ? { state: "cancelled" } : { state: "refused", ...findings(error) },
      );
    }
    this.running = null;
    void this.next();
  }

  private update(key: string, upload: Upload): void {
    this.set(this.items.map((item) => (item.key === key ? { ...item, upload } : item)));
  }

  private set(items: readonly UploadItem[]): void {
    this.items = items;
    for (const listener of this.listeners) listener();
  }
}
