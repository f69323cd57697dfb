import { screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test } from "vitest";

import type { Schema } from "@/api/client";

import { JobProgress } from "./JobProgress";
import { isOver, StateBadge } from "./StateBadge";
import { show } from "./testing";

type Job = Schema<"JobOut">;

const job = (fields: Partial<Job>): Job =>
  ({
    id: "j1",
    kind: "train",
    title: "Training of cubes",
    state: "running",
    done: 30,
    total: 120,
    note: "",
    cause: null,
    queue_position: null,
    seconds_left: 90,
    started_at: "2026-01-01T00:00:00Z",
    finished_at: null,
    ...fields,
  }) as Job;

const told = () => screen.getByTestId("job-progress").textContent;
const bar = () => screen.getByRole("progressbar", { name: "Progress of Training of cubes" });

test("a running job tells its count, its share and the time left", () => {
  show(<JobProgress job={job({})} titled />);
  expect(told()).toContain("30 of 120 steps");
  expect(told()).toMatch(/left/);
  expect(bar().getAttribute("aria-valuenow")).toBe("25");
  expect(screen.getByRole("link", { name: "Training of cubes" }).getAttribute("href")).toBe("/jobs/j1");
});

test("one line for tables: the share in whole percent, and no bar once it is over", () => {
  const { again } = show(<JobProgress job={job({ done: 119.9 })} compact />);
  expect(told()).toContain("99 %");
  again(<JobProgress job={job({ state: "done", done: 120 })} compact />);
  expect(screen.queryByRole("progressbar")).toBeNull();
});

test("a queued job says what it waits for", () => {
  const { again } = show(<JobProgress job={job({ state: "queued", done: 0, queue_position: 3 })} />);
  expect(told()).toContain("number 3 in the queue");
  again(<JobProgress job={job({ state: "queued", done: 0, queue_position: 1 })} />);
  expect(told()).toContain("next in the queue");
});

test("without a worker a queued job says so", () => {
  show(<JobProgress job={job({ state: "queued", done: 0, queue_position: 1 })} />, { workers: 0 });
  expect(told()).toContain("no worker is running");
});

test("a failed job says why, unless the page tells it elsewhere", () => {
  const failed = job({ state: "failed", cause: "The graphics memory is full.", seconds_left: null });
  const { again } = show(<JobProgress job={failed} />);
  expect(told()).toContain("The graphics memory is full.");
  again(<JobProgress job={failed} causeElsewhere />);
  expect(told()).not.toContain("The graphics memory is full.");
});

test("a badge names the state and, asked, its cause or what the state means", async () => {
  const { again } = show(<StateBadge state="failed" cause="No space is left." />);
  await userEvent.hover(screen.getByTestId("job-state"));
  expect((await screen.findByRole("tooltip")).textContent).toBe("No space is left.");
  again(<StateBadge state="queued" />);
  expect(screen.getByTestId("job-state").textContent).toBe("queued");
  expect((await screen.findByRole("tooltip")).textContent).toBe("Waits for a free worker.");
});

test("what is cancelling is not over yet", () => {
  expect((["queued", "running", "cancelling"] as const).some(isOver)).toBe(false);
  expect((["done", "failed", "cancelled"] as const).every(isOver)).toBe(true);
});
