import { screen, within } from "@testing-library/react";
import { beforeEach, expect, test, vi } from "vitest";

import { show } from "@/ui/testing";

import { ExportList } from "./ExportList";
import { archiveUrl, choiceText, type Export } from "./exports";

const served = vi.hoisted(() => ({ exports: [] as unknown[] }));
vi.mock("@/api/client", async (original) => ({
  ...(await original<object>()),
  api: { GET: () => Promise.resolve({ data: served.exports, response: new Response() }) },
}));

const made = (fields: Partial<Export>): Export => ({
  id: "e1",
  dataset_id: "d1",
  name: "cubes-lerobot",
  format: "lerobot",
  title: "LeRobot v3.0, videos",
  choice: { version_id: null, labels: "any", outcomes: [], published_by: null, tags: [] },
  version_number: null,
  episodes: 12,
  steps: 4800,
  created_at: "2026-01-01T00:00:00Z",
  created_by_name: "ada",
  finished_at: "2026-01-01T00:05:00Z",
  expires_at: "2026-01-15T00:05:00Z",
  files: 14,
  size_bytes: 3 * 1024 ** 2,
  sha256: "ab".repeat(32),
  warnings: [],
  destination: { kind: "archive", name: null, landed: null },
  job: null,
  ...fields,
});

beforeEach(() => {
  served.exports = [];
});

test("what was chosen is said in words", () => {
  expect(choiceText(made({}))).toBe("all episodes");
  const choice = { labels: "labelled", outcomes: ["success", "unknown"], tags: ["red"], published_by: "u" } as const;
  expect(choiceText(made({ choice: { ...choice, outcomes: [...choice.outcomes], tags: [...choice.tags] } }))).toBe(
    "labelled, success or unknown, of one person, red",
  );
  expect(choiceText(made({ version_number: 3 }))).toBe("version 3");
});

test("a made one is downloaded by its size, and says when it goes and what was remarked", async () => {
  served.exports = [made({ warnings: ["no rate is known"] })];
  show(<ExportList datasetId="d1" />, { role: "viewer" });
  const row = await screen.findByTestId("export-row");
  expect(row.textContent).toContain("LeRobot v3.0, videos, 12 episodes");
  expect(row.textContent).toContain("14 files in one .tar");
  const link = within(row).getByTestId("export-download");
  expect(link.getAttribute("href")).toBe(archiveUrl(made({})));
  expect(link.textContent).toContain("3.00 MiB");
  expect(within(row).getByTestId("export-warnings").textContent).toContain("no rate is known");
  expect(within(row).getByTestId<HTMLButtonElement>("export-delete").disabled).toBe(true);
});

test("one that went elsewhere says where, and has nothing to download", async () => {
  const destination = { kind: "folder", name: "handover", landed: "cubes-lerobot-e1" } as const;
  served.exports = [made({ destination, sha256: null })];
  show(<ExportList datasetId="d1" />);
  const row = await screen.findByTestId("export-row");
  expect(within(row).getByTestId("export-landed").textContent).toBe(
    "Folder handover, in cubes-lerobot-e1: 14 files, 3.00 MiB",
  );
  expect(within(row).queryByTestId("export-download")).toBeNull();
});

test("one that is being made shows its job and nothing to download or delete", async () => {
  const job = { id: "j", kind: "export", title: "Export", state: "running", done: 3, total: 12, note: "", cause: null };
  served.exports = [made({ finished_at: null, sha256: null, size_bytes: 0, files: 0, job: job as Export["job"] })];
  show(<ExportList datasetId="d1" />);
  const row = await screen.findByTestId("export-row");
  expect(row.getAttribute("data-state")).toBe("running");
  expect(row.textContent).toContain("3 of 12 episodes");
  expect(within(row).queryByTestId("export-download")).toBeNull();
  expect(within(row).queryByTestId("export-delete")).toBeNull();
});
