import { DetailedError, Upload } from "tus-js-client";

import { api, ok, type Schema } from "@/api/client";
import { errorFrom, unreachable } from "@/api/error";

export type ServerFile = Schema<"UploadFileOut">;
export type ServerUpload = Schema<"UploadOut">;
export type ServerUploadDetail = Schema<"UploadDetail">;

const PIECE = 16 * 2 ** 20; // proxies let it through, and little is sent twice
const RETRY_MS = [0, 1000, 2000, 4000, 8000, 15_000, 30_000, 30_000, 30_000];
const READ_FAILED = "The file cannot be read any more: it was moved, changed or deleted. Choose it again.";

/** What uploads ask of the studio and of the browser; tests have their own. */
export interface Transfer {
  uploads: (datasetId: string) => Promise<ServerUpload[]>;
  upload: (uploadId: string) => Promise<ServerUploadDetail>;
  announce: (datasetId: string, body: Schema<"UploadIn">) => Promise<ServerUploadDetail>;
  /** restart: what was sent of another file of this name is given up */
  sayDigest: (fileId: string, sha256: string, restart?: boolean) => Promise<ServerFile>;
  cancelUpload: (uploadId: string) => Promise<void>;
  cancel: (fileId: string) => Promise<void>;
  digest: (file: File, progress: (done: number) => void, signal: AbortSignal) => Promise<string>;
  /** retrying: whether the line is broken and it is tried again */
  send: (
    url: string,
    file: File,
    progress: (sent: number, retrying: boolean) => void,
    signal: AbortSignal,
  ) => Promise<void>;
}

export const transfer: Transfer = {
  uploads: (datasetId) =>
    ok(api.GET("/api/datasets/{dataset_id}/uploads", { params: { path: { dataset_id: datasetId } } })),
  upload: (uploadId) => ok(api.GET("/api/uploads/{upload_id}", { params: { path: { upload_id: uploadId } } })),
  announce: (datasetId, body) =>
    ok(api.POST("/api/datasets/{dataset_id}/uploads", { params: { path: { dataset_id: datasetId } }, body })),
  sayDigest: (fileId, sha256, restart = false) =>
    ok(
      api.PUT("/api/uploads/files/{file_id}/sha256", {
        params: { path: { file_id: fileId } },
        body: { sha256, restart },
      }),
    ),
  cancelUpload: (uploadId) =>
    api.DELETE("/api/uploads/{upload_id}", { params: { path: { upload_id: uploadId } } }).then(() => undefined),
  cancel: (fileId) =>
    api.DELETE("/api/uploads/files/{file_id}", { params: { path: { file_id: fileId } } }).then(() => undefined),
  digest,
  send,
};

function aborted(): DOMException {
  return new DOMException("cancelled", "AbortError");
}

function digest(file: File, progress: (done: number) => void, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(aborted());
      return;
    }
    const worker = new Worker(new URL("./hash.worker.ts", import.meta.url), { type: "module" });
    const end = () => {
      worker.terminate();
      signal.removeEventListener("abort", stop);
    };
    const stop = () => {
      end();
      reject(aborted());
    };
    signal.addEventListener("abort", stop);
    worker.onmessage = ({ data }: MessageEvent<{ done?: number; sha256?: string; error?: string }>) => {
      if (data.done !== undefined) {
        progress(data.done);
        return;
      }
      end();
      if (data.sha256 !== undefined) resolve(data.sha256);
      else reject(new Error(READ_FAILED));
    };
    worker.onerror = () => {
      end();
      reject(new Error("The page could not compute the file's checksum. Load the page again."));
    };
    worker.postMessage(file);
  });
}

/** Whether it is worth trying again by itself: a line or a studio that is away, somebody else's piece (409). */
export function passes(status: number): boolean {
  return status === 0 || status === 409 || status === 423 || status === 429 || (status >= 500 && status !== 507);
}

function send(
  url: string,
  file: File,
  progress: (sent: number, retrying: boolean) => void,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(aborted());
      return;
    }
    let last = 0;
    const upload = new Upload(file, {
      uploadUrl: new URL(url, window.location.origin).href,
      chunkSize: PIECE,
      retryDelays: RETRY_MS,
      storeFingerprintForResuming: false, // the studio itself says what is unfinished
      onProgress: (sent) => {
        last = sent;
        progress(sent, false);
      },
      onShouldRetry: (error) => {
        const again = passes(error.originalResponse?.getStatus() ?? 0);
        if (again) progress(last, true);
        return again;
      },
      onSuccess: () => {
        signal.removeEventListener("abort", stop);
        resolve();
      },
      onError: (error) => {
        signal.removeEventListener("abort", stop);
        reject(inWords(error));
      },
    });
    const stop = () => {
      void upload.abort();
      reject(aborted());
    };
    signal.addEventListener("abort", stop, { once: true });
    upload.start();
  });
}

function inWords(error: Error): Error {
  if (!(error instanceof DetailedError)) return new Error(READ_FAILED);
  const response = error.originalResponse;
  if (response === null || response.getStatus() === 0) return unreachable();
  let body: unknown = null;
  try {
    body = JSON.parse(response.getBody());
  } catch {
    // a proxy's page, or nothing
  }
  return errorFrom(response.getStatus(), body);
}
