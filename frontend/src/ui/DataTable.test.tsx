import { Menu } from "@mantine/core";
import { screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";

import { DataTable, type Column } from "./DataTable";
import type { Order } from "./sort";
import { Tip } from "./Tip";
import { show } from "./testing";

interface Run {
  id: string;
  name: string;
  loss: number | null;
}

const RUNS: Run[] = [
  { id: "1", name: "first", loss: 0.5 },
  { id: "2", name: "second", loss: null },
  { id: "3", name: "third", loss: 0.1 },
];
const COLUMNS: Column<Run>[] = [
  { key: "name", header: "Name", cell: ({ name }) => <a href={`#${name}`}>{name}</a> },
  { key: "mark", header: "", control: true, cell: ({ id }) => <span>mark {id}</span> },
  { key: "loss", header: "Loss", cell: ({ loss }) => loss ?? "-", sort: ({ loss }) => loss },
];

const names = () =>
  within(screen.getByRole("table", { name: "Runs" }))
    .getAllByRole("link")
    .map((link) => link.textContent);

function table(onRowClick?: (run: Run) => void) {
  show(
    <DataTable
      rows={RUNS}
      columns={COLUMNS}
      rowKey={({ id }) => id}
      label="Runs"
      onRowClick={onRowClick}
      rowTestId="run"
    />,
  );
}

test("a heading sorts up, then down, then as the server sent them; what is missing comes last", async () => {
  table();
  expect(names()).toEqual(["first", "second", "third"]);
  const heading = screen.getByRole("button", { name: "Loss" });
  const column = screen.getByRole("columnheader", { name: "Loss" });
  await userEvent.click(heading);
  expect(names()).toEqual(["third", "first", "second"]);
  expect(column.getAttribute("aria-sort")).toBe("ascending");
  await userEvent.click(heading);
  expect(names()).toEqual(["first", "third", "second"]);
  expect(column.getAttribute("aria-sort")).toBe("descending");
  await userEvent.click(heading);
  expect(names()).toEqual(["first", "second", "third"]);
  expect(column.getAttribute("aria-sort")).toBeNull();
});

test("a heading is a button only where there is something to sort by", () => {
  table();
  expect(screen.queryByRole("button", { name: "Name" })).toBeNull();
});

test("a row opens by click, but a link in it does its own thing", async () => {
  const opened = vi.fn();
  table(opened);
  await userEvent.click(screen.getByText("0.1"));
  expect(opened).toHaveBeenCalledExactlyOnceWith(RUNS[2]);
  await userEvent.click(screen.getByRole("link", { name: "first" }));
  await userEvent.click(screen.getByText("mark 2")); // beside what is meant to be pressed
  expect(opened).toHaveBeenCalledOnce();
  expect(screen.getAllByTestId("run").map((row) => row.dataset.id)).toEqual(["1", "2", "3"]);
});

test("of a long list the rows that are seen are drawn, and all count", async () => {
  // no layout here: every row is as high as a page lays it out
  vi.spyOn(HTMLElement.prototype, "offsetHeight", "get").mockReturnValue(56);
  const many = Array.from({ length: 2000 }, (_, place) => ({ id: String(place), name: `run ${place}`, loss: -place }));
  show(<DataTable rows={many} columns={COLUMNS} rowKey={({ id }) => id} label="Runs" rowTestId="run" />);
  expect(screen.getAllByTestId("run").length).toBeLessThan(60);
  expect(screen.getByRole("table").getAttribute("aria-rowcount")).toBe("2001");
  expect(screen.getAllByTestId("run")[3]?.getAttribute("aria-rowindex")).toBe("5");
  await userEvent.click(screen.getByRole("button", { name: "Loss" }));
  expect(names()[0]).toBe("run 1999");
});

test("a list of the server is sorted there, and its next rows are asked for before their end is seen", async () => {
  const [onOrder, more] = [vi.fn(), vi.fn()];
  const list = { before: 0, stale: false, more, total: 300, onOrder };
  const table = (order: Order | null) => (
    <DataTable rows={RUNS} columns={COLUMNS} rowKey={({ id }) => id} label="Runs" list={{ ...list, order }} />
  );
  const { again } = show(table(null));
  expect(more).toHaveBeenCalledOnce();
  expect(screen.getByRole("table").getAttribute("aria-rowcount")).toBe("301");
  await userEvent.click(screen.getByRole("button", { name: "Loss" }));
  expect(onOrder).toHaveBeenLastCalledWith({ key: "loss", descending: false });
  expect(names()).toEqual(["first", "second", "third"]); // as the server sent them
  again(table({ key: "loss", descending: true }));
  await userEvent.click(screen.getByRole("button", { name: "Loss" }));
  expect(onOrder).toHaveBeenLastCalledWith(null);
});

test("all rows share one tooltip and one menu", async () => {
  const tip: Column<Run> = {
    key: "tip",
    header: "Tip",
    cell: ({ name }) => (
      <Tip label={`about ${name}`}>
        <b>{name}!</b>
      </Tip>
    ),
  };
  const opened = vi.fn();
  const menu = {
    label: ({ name }: Run) => `More for ${name}`,
    testId: "more",
    items: ({ name }: Run) => <Menu.Item onClick={() => void opened(name)}>Open {name}</Menu.Item>,
  };
  show(<DataTable rows={RUNS} columns={[tip]} rowKey={({ id }) => id} label="Runs" menu={menu} />);
  await userEvent.hover(screen.getByText("second!"));
  expect((await screen.findByRole("tooltip")).textContent).toBe("about second");
  await userEvent.hover(screen.getByText("third!"));
  expect(screen.getAllByRole("tooltip").map((one) => one.textContent)).toEqual(["about third"]);
  await userEvent.click(screen.getByRole("button", { name: "More for third" }));
  await userEvent.click(await screen.findByRole("menuitem", { name: "Open third" }));
  expect(opened).toHaveBeenCalledExactlyOnceWith("third");
});
