import { MantineProvider } from "@mantine/core";
import { QueryClient, QueryClientProvider, useMutation } from "@tanstack/react-query";
import { cleanup, render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, expect, test, vi } from "vitest";

import { api } from "@/api/client";
import { theme } from "@/theme";

import { NotRecorded } from "./NotRecorded";

vi.mock("./hooks", () => ({ useNow: () => null }));

afterEach(() => {
  cleanup();
  vi.restoreAllMocks();
});

const LATE = "It is not in the audit log yet (the disk is full); it is written as soon as that is possible.";

function Stop({ answer }: { answer: object }) {
  const stop = useMutation({ mutationFn: () => Promise.resolve(answer) });
  return <button onClick={() => stop.mutate()}>Stop</button>;
}

/** Stops; the studio's answers to whether the entry is written come in this order, the last one for ever. */
async function stopped(answer: object, ...written: (boolean | "away")[]) {
  const asked = vi.spyOn(api, "GET").mockImplementation(() => {
    const now = written.length > 1 ? written.shift() : written[0];
    if (now === "away") return Promise.reject(new Error("It does not answer."));
    return Promise.resolve({ data: { written: now }, response: new Response() }) as never;
  });
  render(
    <QueryClientProvider client={new QueryClient()}>
      <MantineProvider theme={theme} env="test">
        <Stop answer={answer} />
        <NotRecorded />
      </MantineProvider>
    </QueryClientProvider>,
  );
  await userEvent.click(screen.getByText("Stop"));
  return asked;
}

const note = () => screen.queryByTestId("live-not-recorded");
const patient = { timeout: 4000 };

test("an entry that is written a moment later alarms nobody", async () => {
  const asked = await stopped({ not_recorded: [LATE], audit_entry: "1" }, true);
  expect(note()).toBeNull();
  await vi.waitFor(() => expect(asked).toHaveBeenCalledOnce(), patient);
  await vi.waitFor(() => expect(note()).toBeNull());
});

test.each([false, "away"] as const)("one that is late (%s) is told, until it is written", async (first) => {
  await stopped({ not_recorded: [LATE], audit_entry: "2" }, first, true);
  expect((await screen.findByTestId("live-not-recorded", {}, patient)).textContent).toContain(LATE);
  await vi.waitFor(() => expect(note()).toBeNull(), patient);
});

test("what is not about the audit log is told at once and stays", async () => {
  const asked = await stopped({ not_recorded: ["Who asked was not checked.", LATE], audit_entry: "3" }, true);
  expect((await screen.findByTestId("live-not-recorded")).textContent).toBe("It was done. Who asked was not checked.");
  await vi.waitFor(() => expect(asked).toHaveBeenCalled(), patient);
  expect(note()?.textContent).toBe("It was done. Who asked was not checked.");
});
