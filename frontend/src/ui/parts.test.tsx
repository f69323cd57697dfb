import { IconRobot } from "@tabler/icons-react";
import { screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";

import { Copyable } from "./Copyable";
import { EmptyState } from "./EmptyState";
import { Facts } from "./Facts";
import { formatTime } from "./format";
import { PageHeader } from "./PageHeader";
import { Plot } from "./Plot";
import { Section } from "./Section";
import { show } from "./testing";
import { Duration, Time } from "./Time";

test("an empty list says what belongs there and what to do next", async () => {
  const pressed = vi.fn();
  show(
    <EmptyState icon={IconRobot} title="No robot yet" action={<button onClick={pressed}>Start one</button>}>
      Start a robot host.
    </EmptyState>,
  );
  const state = screen.getByTestId("empty-state");
  expect(within(state).getByRole("heading", { name: "No robot yet" })).toBeTruthy();
  expect(state.textContent).toContain("Start a robot host.");
  await userEvent.click(within(state).getByRole("button", { name: "Start one" }));
  expect(pressed).toHaveBeenCalledOnce();
});

test("facts without a value are left out; nought is a value", () => {
  show(
    <Facts
      facts={[
        ["Steps", 0],
        ["Note", ""],
        ["Seed", null],
        ["Loss", undefined],
        ["Robot", "aloha_sim"],
      ]}
    />,
  );
  expect(screen.getAllByRole("term").map((term) => term.textContent)).toEqual(["Steps", "Robot"]);
  expect(screen.getAllByRole("definition").map((value) => value.textContent)).toEqual(["0", "aloha_sim"]);
});

test("what is shown short is copied whole", async () => {
  const user = userEvent.setup();
  show(<Copyable value="0123456789abcdef" short="01234567" label="Copy the hash" />);
  expect(screen.queryByText("0123456789abcdef")).toBeNull();
  await user.click(screen.getByRole("button", { name: "Copy the hash" }));
  await vi.waitFor(async () => expect(await navigator.clipboard.readText()).toBe("0123456789abcdef"));
});

test("a page's heading is the window's title, with the way back above it", () => {
  show(<PageHeader title="Run 7" path={[{ label: "Training", to: "/training" }]} actions={<button>Stop</button>} />);
  expect(screen.getByRole("heading", { level: 1, name: "Run 7" })).toBeTruthy();
  expect(document.title).toBe("Run 7 - DexVLA Studio");
  expect(screen.getByRole("link", { name: "Training" }).getAttribute("href")).toBe("/training");
  expect(screen.getByRole("button", { name: "Stop" })).toBeTruthy();
});

test("a section is a region of that name", () => {
  show(
    <Section title="Episodes" description="What was recorded">
      none
    </Section>,
  );
  expect(screen.getByRole("region", { name: "Episodes" }).textContent).toContain("What was recorded");
});

test("a moment is relative, and exact when asked; never is said too", async () => {
  const value = new Date(Date.now() - 3 * 60_000).toISOString();
  const { again } = show(<Time value={value} />);
  const time = screen.getByText("3 min ago");
  expect(time.getAttribute("datetime")).toBe(value);
  await userEvent.hover(time);
  expect((await screen.findByRole("tooltip")).textContent).toBe(formatTime(new Date(value)));
  again(<Time value={null} />);
  expect(screen.getByText("never")).toBeTruthy();
});

test("a duration ends where it ended, and is never negative", () => {
  const { again } = show(<Duration start="2026-01-01T00:00:00Z" end="2026-01-01T00:01:30Z" />);
  expect(document.body.textContent).toContain("1 min 30 s");
  again(<Duration start="2026-01-01T00:01:00Z" end="2026-01-01T00:00:00Z" />);
  expect(document.body.textContent).toContain("0 s");
});

test("a plot tells the last value of each curve and lets each be put away", async () => {
  show(
    <Plot
      x={[0, 1, 2]}
      series={[
        { label: "loss", values: [3, 2, 1.5] },
        { label: "validation", values: [4, null, null] },
        { label: "raw", values: [9, 9, 9], faint: true },
        { label: "rate", values: [7, 7, 7], hidden: true },
      ]}
      label="Losses"
      xLabel="step"
      wholeX
    />,
  );
  const plot = screen.getByRole("figure", { name: "Losses" });
  expect(plot.textContent).toContain("step 2");
  const curve = (name: RegExp) => within(plot).getByRole("button", { name });
  expect(curve(/^loss/).textContent).toContain("1.5");
  expect(curve(/^validation/).textContent).toContain("4"); // the last that is there
  expect(within(plot).queryByRole("button", { name: /^raw/ })).toBeNull();
  expect(curve(/^rate/).getAttribute("aria-pressed")).toBe("false");
  await userEvent.click(curve(/^loss/));
  expect(curve(/^loss/).getAttribute("aria-pressed")).toBe("false");
  await userEvent.click(curve(/^loss/));
  expect(curve(/^loss/).getAttribute("aria-pressed")).toBe("true");
});
