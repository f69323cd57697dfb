import { Box, Button, Group, Table, Text, UnstyledButton } from "@mantine/core";
import { useIntersection } from "@mantine/hooks";
import { IconArrowDown, IconArrowUp } from "@tabler/icons-react";
import { useEffect, useState, type ReactNode } from "react";

import { sorted, type Order } from "./sort";

export interface Column<Row> {
  key: string;
  header: ReactNode;
  cell: (row: Row) => ReactNode;
  /** makes the column sortable */
  sort?: (row: Row) => string | number | null | undefined;
  align?: "left" | "right" | "center";
  width?: number | string;
  /** holds something to press: a click beside it does not open the row */
  control?: true;
}

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
}

/** rows that are drawn at once: each is dozens of elements, and two thousand of them take half a minute */
const AT_ONCE = 50;

/**
 * A table whose rows may be opened by click and whose columns may be sorted. The first column should hold a link. Of a long
 * list the first rows are drawn, and more whenever their end comes near.
 */
export function DataTable<Row>({
  rows,
  columns,
  rowKey,
  label,
  onRowClick,
  rowTestId,
  minWidth = 640,
  initialOrder,
}: Props<Row>) {
  const [order, setOrder] = useState<Order | null>(initialOrder ?? null);
  const by = columns.find((column) => column.key === order?.key)?.sort;
  const [most, setMost] = useState(AT_ONCE);
  const shown = order && by ? sorted(rows, by, order.descending) : rows;
  const more = () => setMost((old) => old + AT_ONCE);
  return (
    <>
      <Table.ScrollContainer minWidth={minWidth}>
        {/* rows that are not drawn yet count too */}
        <Table aria-label={label} aria-rowcount={shown.length + 1} highlightOnHover={onRowClick !== undefined}>
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
                      onClick={() => {
                        setOrder((old) => next(old, column.key));
                        setMost(AT_ONCE);
                      }}
                      style={{ display: "inline-flex", alignItems: "center", gap: 4 }}
                    >
                      {column.header}
                      <Box w={14} h={14} c="dimmed" component="span">
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
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {shown.slice(0, most).map((row, at) => (
              <Table.Tr
                key={rowKey(row)}
                aria-rowindex={at + 2}
                data-testid={rowTestId}
                data-id={rowKey(row)}
                style={onRowClick && { cursor: "pointer" }}
                onClick={
                  onRowClick &&
                  ((event) => {
                    // links and buttons in the row do their own thing
                    if ((event.target as Element).closest("a, button, input, [role=menuitem], [data-control]")) return;
                    onRowClick(row);
                  })
                }
              >
                {columns.map((column) => (
                  <Table.Td key={column.key} ta={column.align} data-control={column.control}>
                    {column.cell(row)}
                  </Table.Td>
                ))}
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
      {shown.length > most && <Rest key={most} shown={most} of={shown.length} more={more} />}
    </>
  );
}

/** Below the rows that are drawn: it draws more before it is seen, and is a button for whoever gets there first. */
function Rest({ shown, of, more }: { shown: number; of: number; more: () => void }) {
  const { ref, entry } = useIntersection({ rootMargin: "600px" });
  const near = entry?.isIntersecting ?? false;
  useEffect(() => {
    if (near) more();
    // once for each time that it comes near
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [near]);
  return (
    <Group ref={ref} justify="center" p="sm">
      <Button variant="subtle" size="compact-sm" onClick={more} data-testid="table-more">
        {shown} of {of} rows; show more
      </Button>
    </Group>
  );
}

/** Ascending, then descending, then as the server sent it. */
function next(old: Order | null, key: string): Order | null {
  if (old?.key !== key) return { key, descending: false };
  return old.descending ? null : { key, descending: true };
}
