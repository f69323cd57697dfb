import { ActionIcon, Box, Menu, Table, Text, UnstyledButton } from "@mantine/core";
import { IconArrowDown, IconArrowUp, IconDots } from "@tabler/icons-react";
import { useWindowVirtualizer } from "@tanstack/react-virtual";
import {
  memo,
  useEffect,
  useEffectEvent,
  useLayoutEffect,
  useRef,
  useState,
  type CSSProperties,
  type ReactNode,
} from "react";

import type { Served } from "./pages";
import { sorted, type Order } from "./sort";
import { Tips } from "./Tip";

export interface Column<Row> {
  key: string;
  header: ReactNode;
  cell: (row: Row) => ReactNode;
  /** makes the column sortable; the server sorts by the column's key where it serves the list */
  sort?: true | ((row: Row) => string | number | null | undefined);
  align?: "left" | "right" | "center";
  width?: number | string;
  /** holds something to press: a click beside it does not open the row */
  control?: true;
}

/** How a list that the server sorts is shown. */
export type List = Served & { total: number; order: Order | null; onOrder: (order: Order | null) => void };

interface Props<Row> {
  rows: readonly Row[];
  columns: readonly Column<Row>[];
  rowKey: (row: Row) => string;
  /** for screen readers: what the table lists */
  label: string;
  onRowClick?: (row: Row) => void;
  rowTestId?: string;
  minWidth?: number;
  /** column and direction at first; without it the order is the server's */
  initialOrder?: Order;
  /** `rows` are a part of a list that the server sorts */
  list?: List;
  /** of each row, behind a button at its end */
  menu?: { label: (row: Row) => string; items: (row: Row) => ReactNode; testId: string };
}

/** Rows from which on only those that are seen are drawn. */
const LONG = 50;
const ROW_PX = 56;
/** Told by a paler table where it lasts, and by no flicker where it does not. */
const STALE: CSSProperties = { opacity: 0.6, transition: "opacity 0s 400ms" };
/** Rows beyond what is seen that are drawn, and within which of the end more are asked for. */
const BEYOND = 8;

/**
 * A table whose rows may be opened by click and whose columns may be sorted. The first column should hold a link. Of a long
 * list the rows that are seen are drawn. All rows share one menu and one tooltip (`Tip`).
 */
export function DataTable<Row>(props: Props<Row>) {
  const { rows, columns, rowKey, label, onRowClick, rowTestId, minWidth = 640, initialOrder, list, menu } = props;
  const [own, setOwn] = useState<Order | null>(initialOrder ?? null);
  const [opened, setOpened] = useState<{ row: Row; at: CSSProperties } | null>(null);
  const frame = useRef<HTMLDivElement>(null);
  const order = list ? list.order : own;
  const setOrder = list ? list.onOrder : setOwn;
  const by = columns.find((column) => column.key === order?.key)?.sort;
  const shown = !list && order && typeof by === "function" ? sorted(rows, by, order.descending) : rows;
  const before = list?.before ?? 0;
  const long = before + shown.length > LONG || list?.more !== undefined;
  const { drawn, above, below, measure } = useSeen(frame, before, shown, rowKey, { ...props, long });
  const across = columns.length + (menu ? 1 : 0);
  const total = list?.total ?? shown.length;

  // another order is another list, and begins at its top
  const top = useEffectEvent(() => {
    if (frame.current && frame.current.getBoundingClientRect().top < 0)
      frame.current.scrollIntoView({ block: "start" });
  });
  const said = order && `${order.key} ${order.descending}`;
  const first = useRef(true);
  useEffect(() => {
    if (!first.current) top();
    first.current = false;
  }, [said]);

  return (
    <Tips>
      <Box ref={frame} pos="relative" style={{ scrollMarginTop: "calc(var(--app-shell-header-height, 0px) + 8px)" }}>
        <Table.ScrollContainer minWidth={minWidth}>
          {/* rows that are not drawn count too */}
          <Table
            aria-label={label}
            aria-rowcount={total + 1}
            aria-busy={list?.stale}
            layout={list ? "fixed" : undefined}
            highlightOnHover={onRowClick !== undefined}
            style={list?.stale ? STALE : undefined}
          >
            <Table.Thead>
              <Table.Tr aria-rowindex={1}>
                {columns.map((column) => (
                  <Table.Th
                    key={column.key}
                    w={column.width}
                    ta={column.align}
                    aria-sort={order?.key === column.key ? (order.descending ? "descending" : "ascending") : undefined}
                  >
                    {column.sort ? (
                      <UnstyledButton
                        fw={600}
                        fz="sm"
                        onClick={() => setOrder(next(order, column.key))}
                        style={{ display: "inline-flex", alignItems: "center", gap: 4 }}
                      >
                        {column.header}
                        <Box
                          w={14}
                          h={14}
                          c="dimmed"
                          component="span"
                          style={column.align === "right" ? { order: -1 } : undefined}
                        >
                          {order?.key === column.key &&
                            (order.descending ? <IconArrowDown size={14} /> : <IconArrowUp size={14} />)}
                        </Box>
                      </UnstyledButton>
                    ) : (
                      <Text span fw={600} size="sm">
                        {column.header}
                      </Text>
                    )}
                  </Table.Th>
                ))}
                {menu && <Table.Th w={56} />}
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              <Gap height={above} across={across} />
              {drawn.map(({ row, at }) => (
                <Table.Tr
                  key={rowKey(row)}
                  ref={measure}
                  aria-rowindex={at + 2}
                  data-index={at}
                  data-testid={rowTestId}
                  data-id={rowKey(row)}
                  style={onRowClick && { cursor: "pointer" }}
                  onClick={
                    onRowClick &&
                    ((event) => {
                      // links and buttons in the row do their own thing
                      if ((event.target as Element).closest("a, button, input, [role=menuitem], [data-control]"))
                        return;
                      onRowClick(row);
                    })
                  }
                >
                  {columns.map((column) => (
                    <Cell key={column.key} row={row} column={column} />
                  ))}
                  {menu && (
                    <Table.Td data-control>
                      <ActionIcon
                        variant="subtle"
                        color="gray"
                        aria-label={menu.label(row)}
                        aria-haspopup="menu"
                        aria-expanded={opened?.row === row}
                        data-testid={menu.testId}
                        onClick={(event) => setOpened({ row, at: within(event.currentTarget, frame.current) })}
                      >
                        <IconDots size={18} />
                      </ActionIcon>
                    </Table.Td>
                  )}
                </Table.Tr>
              ))}
              <Gap height={below} across={across} />
            </Table.Tbody>
          </Table>
        </Table.ScrollContainer>
        {menu && (
          <Menu opened={opened !== null} onClose={() => setOpened(null)} position="bottom-end" returnFocus>
            <Menu.Target>
              {/* lies over the row's own button */}
              <UnstyledButton
                tabIndex={-1}
                aria-hidden
                style={{ position: "absolute", pointerEvents: "none", ...opened?.at }}
              />
            </Menu.Target>
            <Menu.Dropdown>{opened && menu.items(opened.row)}</Menu.Dropdown>
          </Menu>
        )}
      </Box>
    </Tips>
  );
}

/** Drawn anew for another row or column only, not whenever the list around it is asked for, sorted or scrolled. */
const Cell = memo(CellOf) as typeof CellOf;

function CellOf<Row>({ row, column }: { row: Row; column: Column<Row> }) {
  return (
    <Table.Td ta={column.align} data-control={column.control}>
      {column.cell(row)}
    </Table.Td>
  );
}

/** Which rows of a table to draw, and how much room the others take. Asks for those that are about to be seen. */
function useSeen<Row>(
  frame: React.RefObject<HTMLElement | null>,
  before: number,
  rows: readonly Row[],
  rowKey: (row: Row) => string,
  { list, long }: Pick<Props<Row>, "list"> & { long: boolean },
) {
  const [start, setStart] = useState(0);
  const count = before + rows.length;
  const virtual = useWindowVirtualizer<HTMLTableRowElement>({
    count,
    enabled: long,
    estimateSize: () => ROW_PX,
    overscan: BEYOND,
    scrollMargin: start,
    getItemKey: (at) => (rows[at - before] ? rowKey(rows[at - before] as Row) : at),
  });
  useLayoutEffect(() => {
    if (!long) return;
    const look = requestAnimationFrame(() => {
      const rect = frame.current?.getBoundingClientRect();
      if (rect) setStart(Math.round(rect.top + window.scrollY));
    });
    return () => cancelAnimationFrame(look);
  }, [frame, long, rows]);
  const seen = virtual.getVirtualItems();
  const first = seen[0]?.index ?? 0;
  const last = seen.at(-1)?.index ?? 0;
  const late = long && list?.more !== undefined && last >= count - 1 - BEYOND;
  const early = long && list?.previous !== undefined && first <= before + BEYOND;
  const ask = useEffectEvent(() => (late ? list.more?.() : early ? list.previous?.() : undefined));
  useEffect(() => {
    if (late || early) ask();
  }, [late, early]);
  if (!long) return { drawn: rows.map((row, at) => ({ row, at })), above: 0, below: 0, measure: undefined };
  const here = seen.filter(({ index }) => index >= before);
  const end = virtual.getTotalSize() + start;
  return {
    drawn: here.map(({ index }) => ({ row: rows[index - before] as Row, at: index })),
    above: (here[0]?.start ?? end) - start,
    below: end - (here.at(-1)?.end ?? end),
    measure: virtual.measureElement,
  };
}

/** In the place of rows that are not drawn. */
function Gap({ height, across }: { height: number; across: number }) {
  if (height <= 0) return null;
  return (
    <tr aria-hidden>
      <td colSpan={across} style={{ height, padding: 0 }} />
    </tr>
  );
}

/** Where an element lies in a frame. */
function within(element: HTMLElement, frame: HTMLElement | null): CSSProperties {
  const [inner, outer] = [element.getBoundingClientRect(), frame?.getBoundingClientRect()];
  return {
    left: inner.left - (outer?.left ?? 0),
    top: inner.top - (outer?.top ?? 0),
    width: inner.width,
    height: inner.height,
  };
}

/** Ascending, then descending, then as the server sent it. */
function next(old: Order | null, key: string): Order | null {
  if (old?.key !== key) return { key, descending: false };
  return old.descending ? null : { key, descending: true };
}
