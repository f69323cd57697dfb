import {
  keepPreviousData,
  useInfiniteQuery,
  useQuery,
  type InfiniteData,
  type QueryKey,
  type UseQueryResult,
} from "@tanstack/react-query";

import type { Query } from "./Loaded";
import type { Order } from "./sort";

/** Rows of a request, and how many requests are kept: those around what is looked at. */
const ROWS = 50;
const KEPT = 4;
/** Ids of a request; an address has room for so many. */
const IDS = 100;
/** Rows of a request for all of them. */
const MOST = 500;

interface Page<Row> {
  items: Row[];
  next: string | null;
  total?: number | null;
}

interface Place<Of> {
  /** of the page; null: the first */
  cursor: string | null;
  /** cursors of the pages before it */
  before: readonly (string | null)[];
  /** the first page, which alone says how many there are */
  head?: Of;
}

export interface Ask {
  cursor?: string;
  limit: number;
}

/** What a table needs to know of a list that is elsewhere. */
export interface Served {
  /** rows in front of those that are here */
  before: number;
  /** what is shown belongs to what was asked before */
  stale: boolean;
  more?: () => void;
  previous?: () => void;
}

export interface Listed<Row, Of> {
  rows: readonly Row[];
  /** the first page as it came, with what it says of all of them */
  head: Of;
  total: number;
  served: Served;
}

/**
 * A list that the server searches, filters and sorts. Pages of it are asked for as the table comes to their rows, and few
 * are kept: an event asks again for these, however long the list is. `refresh`: for estimates that move with the time.
 */
export function usePages<Row, Of extends Page<Row> = Page<Row>>(
  queryKey: QueryKey,
  ask: (query: Ask, signal: AbortSignal) => Promise<Of & Page<Row>>,
  refresh?: (row: Row) => boolean,
): Query<Listed<Row, Of>> {
  const query = useInfiniteQuery<Of & Page<Row>, Error, InfiniteData<Of & Page<Row>, Place<Of>>, QueryKey, Place<Of>>({
    queryKey,
    queryFn: ({ pageParam, signal }) => ask({ cursor: pageParam.cursor ?? undefined, limit: ROWS }, signal),
    initialPageParam: { cursor: null, before: [] },
    getNextPageParam: ({ next }, [head], { cursor, before, head: first }) =>
      next === null ? undefined : { cursor: next, before: [...before, cursor], head: first ?? head },
    getPreviousPageParam: (_, __, { before, head }) =>
      before.length === 0 ? undefined : { cursor: before.at(-1) ?? null, before: before.slice(0, -1), head },
    maxPages: KEPT,
    placeholderData: keepPreviousData,
    refetchInterval: ({ state }) =>
      refresh && state.data?.pages.some(({ items }) => items.some(refresh)) ? 5_000 : false,
  });
  const { data, isPlaceholderData, isFetching, hasNextPage, hasPreviousPage } = query;
  return {
    error: query.error,
    refetch: query.refetch,
    data: data && {
      ...listed(data),
      served: {
        before: (data.pageParams[0]?.before.length ?? 0) * ROWS,
        stale: isPlaceholderData,
        more: hasNextPage && !isFetching ? () => void query.fetchNextPage() : undefined,
        previous: hasPreviousPage && !isFetching ? () => void query.fetchPreviousPage() : undefined,
      },
    },
  };
}

/** A row that moved between two requests is in both: the later one is right. */
function listed<Row, Of extends Page<Row>>({ pages, pageParams }: InfiniteData<Of & Page<Row>, Place<Of>>) {
  const [first] = pages as [Of & Page<Row>];
  const head = pageParams[0]?.cursor === null ? first : (pageParams[0]?.head ?? first);
  const rows = pages.flatMap(({ items }) => items);
  const known = rows as (Row & { id?: string })[];
  const last = new Map(known.map(({ id }, at) => [id, at]));
  return {
    rows: known.filter(({ id }, at) => id === undefined || last.get(id) === at),
    head,
    total: head.total ?? rows.length,
  };
}

/** All rows of a list, in as few requests as it takes. */
export async function everything<Row>(ask: (query: Ask) => Promise<Page<Row>>): Promise<Row[]> {
  const rows: Row[] = [];
  let cursor: string | undefined;
  do {
    const page = await ask({ cursor, limit: MOST });
    rows.push(...page.items);
    cursor = page.next ?? undefined;
  } while (cursor !== undefined);
  return rows;
}

/** Those of the ids that are still there, as they are now; what was chosen may not be among the rows that are loaded. */
export function useChosen<Row>(
  queryKey: QueryKey,
  ids: readonly string[],
  ask: (id: string[]) => Promise<Page<Row>>,
): UseQueryResult<Row[]> {
  return useQuery({
    queryKey: [...queryKey, ids],
    queryFn: async () => {
      const parts = Array.from({ length: Math.ceil(ids.length / IDS) }, (_, at) => ids.slice(at * IDS, (at + 1) * IDS));
      return (await Promise.all(parts.map((part) => ask([...part])))).flatMap(({ items }) => items);
    },
    enabled: ids.length > 0,
    placeholderData: ids.length > 0 ? keepPreviousData : undefined,
  });
}

/** The order that the address names: "loss", or "-loss" for downwards; null: the list's own. */
export function orderOf(said: string | null): Order | null {
  if (!said) return null;
  return said.startsWith("-") ? { key: said.slice(1), descending: true } : { key: said, descending: false };
}

export function orderText(order: Order | null): string | null {
  return order && `${order.descending ? "-" : ""}${order.key}`;
}
