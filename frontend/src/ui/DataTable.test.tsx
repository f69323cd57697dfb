import { screen, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";

import { DataTable, type Column } from "./DataTable";
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

test("of a long list the first rows are drawn, and more when one asks; sorting begins at the top again", async () => {
  const many = Array.from({ length: 130 }, (_, place) => ({ id: String(place), name: `run ${place}`, loss: -place }));
  show(<DataTable rows={many} columns={COLUMNS} rowKey={({ id }) => id} label="Runs" rowTestId="run" />);
  expect(screen.getAllByTestId("run")).toHaveLength(50);
  expect(screen.getByRole("table").getAttribute("aria-rowcount")).toBe("131");
  await userEvent.click(screen.getByRole("button", { name: "50 of 130 rows; show more" }));
  expect(screen.getAllByTestId("run")).toHaveLength(100);
  await userEvent.click(screen.getByTestId("table-more"));
  expect(screen.getAllByTestId("run")).toHaveLength(130);
  expect(screen.queryByTestId("table-more")).toBeNull();
  await userEvent.click(screen.getByRole("button", { name: "Loss" }));
  expect(screen.getAllByTestId("run")).toHaveLength(50);
  expect(names()[0]).toBe("run 129");
});
