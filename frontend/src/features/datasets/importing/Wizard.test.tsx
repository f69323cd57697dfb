import { screen, waitFor } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";

import { ApiError } from "@/api/error";
import { show } from "@/ui/testing";

import type { Preview } from "./profile";
import { Wizard } from "./Wizard";

const FOUND: Preview = {
  format: "act",
  format_title: "ACT",
  format_guessed: false,
  episodes: 3,
  names: ["a.hdf5"],
  episode: "a.hdf5",
  steps: 9,
  kept_steps: 9,
  robot: null,
  refusals: [],
  guesses: [],
  warnings: [],
  guessed: [],
  cameras: [],
  base_dimensions: 0,
} as unknown as Preview;

const studio = vi.hoisted(() => ({ post: vi.fn(), imports: [] as unknown[] }));
vi.mock("@/api/client", async (original) => ({
  ...(await original<object>()),
  api: {
    GET: (path: string) =>
      Promise.resolve({
        data: path === "/api/jobs" ? { items: studio.imports, total: studio.imports.length } : [],
        response: new Response(),
      }),
    POST: studio.post,
  },
}));

function answers(refused: (robot: string) => boolean): void {
  studio.post.mockImplementation((_: string, { body }: { body: { profile: { robot?: string | null } } }) => {
    if (refused(body.profile.robot ?? ""))
      return Promise.reject(new ApiError(422, { code: "invalid", message: "The robot's name is none." }));
    return Promise.resolve({ data: FOUND, response: new Response() });
  });
}

const begin = () => screen.getByTestId("import-start");

test("an answer that is refused leaves the questions where it can be mended", async () => {
  answers((robot) => robot.includes("/"));
  show(<Wizard datasetId="d" source={{ candidate: "refused" }} />);
  const robot = await screen.findByTestId("import-robot");
  await waitFor(() => expect(begin().getAttribute("aria-disabled")).toBeNull());
  await userEvent.type(robot, "a/");
  expect(begin().getAttribute("aria-disabled")).toBe("true");
  await screen.findByText("The robot's name is none.");
  expect(begin().getAttribute("aria-disabled")).toBe("true");
  await userEvent.type(screen.getByTestId("import-robot"), "{Backspace}");
  await waitFor(() => expect(begin().getAttribute("aria-disabled")).toBeNull());
  expect(screen.queryByTestId("error-note")).toBeNull();
});

test("an import says that it has begun, and none begins beside another", async () => {
  answers(() => false);
  const { again } = show(<Wizard datasetId="d" source={{ candidate: "free" }} />);
  await waitFor(() => expect(begin().getAttribute("aria-disabled")).toBeNull());
  await userEvent.click(begin());
  await screen.findByText("The import has begun; it is shown above the tabs.");
  expect(studio.post).toHaveBeenLastCalledWith("/api/datasets/{dataset_id}/import", expect.anything());
  studio.imports = [{ id: "j", state: "running", kind: "import" }];
  again(<Wizard datasetId="busy" source={{ candidate: "free" }} />);
  await waitFor(() => expect(begin().getAttribute("aria-disabled")).toBe("true"));
});

test("answers are there when one comes back", async () => {
  studio.imports = [];
  answers(() => false);
  const wizard = <Wizard datasetId="d" source={{ candidate: "kept" }} />;
  const { again } = show(wizard);
  await userEvent.type(await screen.findByTestId("import-robot"), "arm");
  again(null);
  expect(screen.queryByTestId("import-wizard")).toBeNull();
  again(wizard);
  expect((await screen.findByTestId<HTMLInputElement>("import-robot")).value).toBe("arm");
});
