import { useQueryClient } from "@tanstack/react-query";
import { screen, waitFor } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { expect, test, vi } from "vitest";

import { everything, orderOf, orderText, usePages, type Ask } from "./pages";
import { show } from "./testing";

interface Row {
  id: string;
}

/** A list of so many rows, as the server has it. */
function server(count: number) {
  return vi.fn(({ cursor, limit }: Ask) => {
    const from = Number(cursor ?? 0);
    const items = Array.from({ length: Math.min(limit, count - from) }, (_, at) => ({ id: String(from + at) }));
    const total = cursor === undefined ? count : null;
    return Promise.resolve({ items, next: from + limit < count ? String(from + limit) : null, total });
  });
}

function List({ ask }: { ask: (query: Ask) => Promise<{ items: Row[]; next: string | null; total: number | null }> }) {
  const { data } = usePages<Row>(["rows"], ask);
  const client = useQueryClient();
  return (
    <>
      <p>
        {data && `${data.served.before} before, ${data.rows.at(0)?.id} to ${data.rows.at(-1)?.id} of ${data.total}`}
      </p>
      <button onClick={data?.served.more}>more</button>
      <button onClick={data?.served.previous}>previous</button>
      <button onClick={() => void client.invalidateQueries({ queryKey: ["rows"] })}>event</button>
    </>
  );
}

const press = (name: string) => userEvent.click(screen.getByRole("button", { name }));

test("few pages are kept however far one goes, and an event asks for these alone", async () => {
  const ask = server(1000);
  show(<List ask={ask} />);
  await screen.findByText("0 before, 0 to 49 of 1000");
  for (const last of [99, 149, 199, 249, 299]) {
    await press("more");
    await screen.findByText(new RegExp(`to ${last} of 1000`));
  }
  expect(screen.getByText("100 before, 100 to 299 of 1000")).toBeTruthy();
  ask.mockClear();
  await press("event");
  await waitFor(() => expect(ask).toHaveBeenCalledTimes(4));
  expect(ask.mock.calls.map(([{ cursor }]) => cursor)).toEqual(["100", "150", "200", "250"]);
  await press("previous");
  await screen.findByText("50 before, 50 to 249 of 1000");
  await press("previous");
  await screen.findByText("0 before, 0 to 199 of 1000");
});

test("all rows come in few requests", async () => {
  const ask = server(1200);
  expect((await everything(ask)).map(({ id }) => id)).toHaveLength(1200);
  expect(ask).toHaveBeenCalledTimes(3);
});

test("an order is a word in the address", () => {
  for (const said of ["loss", "-loss", null]) expect(orderText(orderOf(said))).toBe(said);
  expect(orderOf("-loss")).toEqual({ key: "loss", descending: true });
});
