import { screen, waitFor } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { beforeEach, expect, test, vi } from "vitest";

import type { Dataset } from "@/features/datasets/core/hooks";
import { show } from "@/ui/testing";

import { EditDialog } from "./EditDialog";

const studio = vi.hoisted(() => ({ post: vi.fn(), problem: null as string | null, many: 3 }));
vi.mock("@/api/client", async (original) => ({
  ...(await original<object>()),
  api: { GET: () => Promise.resolve({ data: [], response: new Response() }), POST: studio.post },
}));

const DATASET = { id: "d", name: "Cubes", episodes: 300, cameras: [] } as unknown as Dataset;
const plannedOf = (number: number, problem: string | null) => ({
  sources: [{ episode_id: `e${number}`, number }],
  steps: 9,
  steps_before: 20,
  pieces: [],
  dropped: [{ first: 0, last: 10 }],
  substeps: 0,
  substeps_before: 0,
  lost: [],
  notes: [],
  problem,
});

beforeEach(() => {
  studio.problem = null;
  studio.many = 3;
  studio.post.mockReset().mockImplementation((path: string) => {
    const items = Array.from({ length: studio.many }, (_, at) => plannedOf(at, at === 250 ? studio.problem : null));
    const skipped = [{ episode_id: "e300", number: 300 }];
    const shown = { items, steps: 9, steps_before: 20, problems: 0, skipped };
    return Promise.resolve({ data: path.endsWith("/preview") ? shown : { id: "x" }, response: new Response() });
  });
});

const start = () => screen.getByTestId("edit-start");
const made = () => studio.post.mock.calls.filter(([path]) => !String(path).endsWith("/preview"));

test("only what was shown is done, also by the key Enter", async () => {
  show(<EditDialog opened onClose={vi.fn()} dataset={DATASET} ids={null} action="split" given={{ at: "4" }} />);
  await waitFor(() => expect(start().getAttribute("aria-disabled")).toBeNull());
  expect(screen.getByTestId("edit-count").textContent).toContain("(300)");
  await userEvent.type(screen.getByTestId("edit-at"), "0{Enter}");
  expect(start().getAttribute("aria-disabled")).toBe("true");
  expect(made()).toEqual([]);
  await waitFor(() => expect(start().getAttribute("aria-disabled")).toBeNull());
  await userEvent.type(screen.getByTestId("edit-at"), "{Enter}");
  await waitFor(() => expect(made()).toHaveLength(1));
  expect(made()[0]?.[1]).toMatchObject({ body: { at: [40] } });
});

test("an episode that cannot be made comes first and can be left out, however many there are", async () => {
  studio.problem = "it has no such step";
  studio.many = 251;
  show(<EditDialog opened onClose={vi.fn()} dataset={DATASET} ids={null} action="trim_idle" />);
  const [first] = await screen.findAllByTestId("edit-item");
  expect(first?.textContent).toContain("it has no such step");
  expect(start().getAttribute("aria-disabled")).toBe("true");
  await userEvent.click(screen.getByLabelText("250"));
  await waitFor(() => expect(start().getAttribute("aria-disabled")).toBeNull());
});

test("the idle steps that were found can be typed anew, and only right ones are asked for", async () => {
  studio.many = 1;
  show(<EditDialog opened onClose={vi.fn()} dataset={DATASET} ids={["e0"]} action="drop_idle" />);
  const field = await screen.findByTestId<HTMLInputElement>("edit-drop");
  expect(field.value).toBe("0–10");
  await userEvent.clear(field);
  await userEvent.type(field, "0-");
  expect(start().getAttribute("aria-disabled")).toBe("true");
  await userEvent.type(field, "7");
  expect(screen.getByTestId("edit-drop")).toBe(field);
  await waitFor(() => expect(start().getAttribute("aria-disabled")).toBeNull());
  await userEvent.click(start());
  await waitFor(() => expect(made()).toHaveLength(1));
  expect(made()[0]?.[1]).toMatchObject({ body: { action: "drop_idle", drop: { e0: [{ first: 0, last: 7 }] } } });
});
