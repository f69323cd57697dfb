import { Badge, Card, Code, Group, Select, Text } from "@mantine/core";
import { IconSearch } from "@tabler/icons-react";

import type { Schema } from "@/api/client";
import { DataTable, type Column } from "@/ui/DataTable";
import { EmptyState } from "@/ui/EmptyState";
import { formatCount, formatTime } from "@/ui/format";
import { Loaded } from "@/ui/Loaded";
import { SearchField } from "@/ui/SearchField";
import { useFilters, useWords } from "@/ui/search";
import { Tip } from "@/ui/Tip";

import { detailText } from "./audit";
import { useAudit, useUsers } from "./hooks";

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
    width: 170,
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
        <Tip label={entry.subject}>
          <Code>{entry.subject.slice(0, 12)}</Code>
        </Tip>
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
  const [search, change] = useFilters();
  const words = useWords();
  const who = search.get("who");
  const users = useUsers().data ?? [];
  const entries = useAudit({ search: words || undefined, user_id: who ?? undefined });
  return (
    <>
      <Group mb="md" gap="sm">
        <SearchField label="Search the log" placeholder="Search what was done, who" testId="audit-search" />
        <Select
          aria-label="Who"
          placeholder="Anybody"
          clearable
          searchable
          w={180}
          data={users.map(({ id, name }) => ({ value: id, label: name }))}
          value={who}
          onChange={(value) => change("who", value)}
          data-testid="audit-who"
        />
        {entries.data && (
          <Text size="sm" c="dimmed" ml="auto">
            {formatCount(entries.data.total)} {entries.data.total === 1 ? "entry" : "entries"}
          </Text>
        )}
      </Group>
      <Loaded query={entries} lines={8}>
        {({ rows, total, served }) => (
          <Card padding={0}>
            {total === 0 ? (
              <EmptyState icon={IconSearch} title="No entry matches">
                Change the search or the filter.
              </EmptyState>
            ) : (
              <DataTable
                label="Audit log"
                rows={rows}
                list={{ ...served, total, order: null, onOrder: () => undefined }}
                columns={COLUMNS}
                rowKey={(entry) => entry.id}
                rowTestId="audit-row"
                minWidth={860}
              />
            )}
          </Card>
        )}
      </Loaded>
    </>
  );
}
