import { useQuery } from "@tanstack/react-query";
import { screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";

import { ApiError } from "@/api/client";

import { ErrorNote } from "./ErrorNote";
import { Loaded } from "./Loaded";
import { show } from "./testing";

function Episodes({ ask }: { ask: () => Promise<string[]> }) {
  const query = useQuery({ queryKey: ["episodes"], queryFn: ask });
  return (
    <>
      <button onClick={() => void query.refetch()}>Ask</button>
      <Loaded query={query}>{(episodes) => <p>{episodes.join(", ")}</p>}</Loaded>
    </>
  );
}

test("a placeholder stands there until something came", async () => {
  let bring: (episodes: string[]) => void = () => undefined;
  show(<Episodes ask={() => new Promise((resolve) => (bring = resolve))} />);
  expect(document.querySelector("[aria-busy=true]")).not.toBeNull();
  bring(["one", "two"]);
  expect(await screen.findByText("one, two")).toBeTruthy();
  expect(document.querySelector("[aria-busy=true]")).toBeNull();
});

test("an error is told and can be tried again", async () => {
  const ask = vi.fn<() => Promise<string[]>>();
  ask.mockRejectedValueOnce(new Error("The disk is full."));
  ask.mockResolvedValueOnce(["one"]);
  show(<Episodes ask={ask} />);
  expect((await screen.findByRole("alert")).textContent).toContain("The disk is full.");
  await userEvent.click(screen.getByRole("button", { name: "Try again" }));
  expect(await screen.findByText("one")).toBeTruthy();
  expect(screen.queryByRole("alert")).toBeNull();
});

test("what was there stays under an error", async () => {
  const ask = vi.fn<() => Promise<string[]>>();
  ask.mockResolvedValueOnce(["one"]);
  ask.mockRejectedValueOnce(new Error("It does not answer."));
  show(<Episodes ask={ask} />);
  await screen.findByText("one");
  await userEvent.click(screen.getByRole("button", { name: "Ask" }));
  expect((await screen.findByRole("alert")).textContent).toContain("It does not answer.");
  expect(screen.getByText("one")).toBeTruthy();
});

test("complaints about fields are told with their names, none of them twice", () => {
  const error = new ApiError(422, {
    code: "invalid",
    message: "name is too long",
    fields: { name: "name is too long", steps: "at least 1" },
  });
  show(<ErrorNote error={error} title="Not started" />);
  const note = screen.getByRole("alert").textContent;
  expect(note).toContain("Not started");
  expect(note).toContain("steps: at least 1");
  expect(note.match(/too long/g)).toHaveLength(1);
  expect(screen.queryByRole("button")).toBeNull();
});

test("without an error there is no note", () => {
  show(<ErrorNote error={null} />);
  expect(screen.queryByTestId("error-note")).toBeNull();
});
