import { Badge, Card, Code, Group, Pagination, Text, Tooltip } from "@mantine/core";
import { useState } from "react";

import type { Schema } from "@/api/client";
import { DataTable, type Column } from "@/ui/DataTable";
import { formatTime } from "@/ui/format";
import { Loaded } from "@/ui/Loaded";

import { detailText } from "./audit";
import { useAudit } from "./hooks";

const PAGE = 100;

const COLUMNS: Column<Schema<"AuditOut">>[] = [
  {
    key: "time",
    header: "When",
    width: 190,
    cell: (entry) => (
      <Text size="xs" style={{ whiteSpace: "nowrap" }}>
        {formatTime(new Date(entry.created_at))}
      </Text>
    ),
  },
  { key: "who", header: "Who", width: 100, cell: (entry) => entry.user_name ?? "-" },
  {
    key: "action",
    header: "What",
    width: 130,
    cell: (entry) => (
      <Badge color="gray" tt="none">
        {entry.action}
      </Badge>
    ),
  },
  {
    key: "subject",
    header: "To what",
    width: 120,
    cell: (entry) =>
      entry.subject ? (
        <Tooltip label={entry.subject}>
          <Code>{entry.subject.slice(0, 12)}</Code>
        </Tooltip>
      ) : (
        "-"
      ),
  },
  {
    key: "detail",
    header: "Detail",
    cell: (entry) => (
      <Text size="xs" c="dimmed" style={{ overflowWrap: "anywhere" }}>
        {detailText(entry.detail)}
      </Text>
    ),
  },
];

export function AuditTab() {
  const [page, setPage] = useState(1);
  const entries = useAudit((page - 1) * PAGE, PAGE);
  return (
    <Loaded query={entries} lines={8}>
      {({ items, total }) => (
        <Card padding={0}>
          <DataTable
            label="Audit log"
            rows={items}
            columns={COLUMNS}
            rowKey={(entry) => entry.id}
            rowTestId="audit-row"
            minWidth={860}
          />
          {total > PAGE && (
            <Group justify="center" p="sm">
              <Pagination total={Math.ceil(total / PAGE)} value={page} onChange={setPage} />
            </Group>
          )}
        </Card>
      )}
    </Loaded>
  );
}
