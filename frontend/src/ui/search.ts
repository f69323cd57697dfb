import { useDebouncedValue } from "@mantine/hooks";
import { useCallback } from "react";
import { useSearchParams } from "react-router";

import type { Column } from "./DataTable";
import { orderOf, orderText } from "./pages";
import type { Order } from "./sort";

/** Filters of a list, kept in the address: a reload, a link and the back button show the same list. */
export function useFilters(): [URLSearchParams, (key: string, value: string | null) => void] {
  const [search, setSearch] = useSearchParams();
  // another choice is another list: it is shown from its first page
  const change = useCallback(
    (key: string, value: string | null) =>
      setSearch(
        (old) => {
          const next = new URLSearchParams(old);
          if (key !== "page") next.delete("page");
          if (value) next.set(key, value);
          else next.delete(key);
          return next;
        },
        { replace: true },
      ),
    [setSearch],
  );
  return [search, change];
}

/** What is searched for (?q=), once nothing was typed for a moment. */
export function useWords(): string {
  const [search] = useSearchParams();
  return useDebouncedValue((search.get("q") ?? "").trim(), 200)[0];
}

/**
 * The order of a list that the server sorts, kept in the address (?sort=loss, ?sort=-loss): (for the table, for the
 * server, to change it). What no column of the list is sorted by is left out.
 */
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- what the server's orders are called
export function useOrder<Key extends string>(
  columns: readonly Pick<Column<never>, "key" | "sort">[],
): [Order | null, { sort?: Key; descending?: boolean }, (order: Order | null) => void] {
  const [search, change] = useFilters();
  const said = orderOf(search.get("sort"));
  const order = columns.some(({ key, sort }) => sort && key === said?.key) ? said : null;
  return [
    order,
    order ? { sort: order.key as Key, descending: order.descending } : {},
    (to) => change("sort", orderText(to)),
  ];
}
