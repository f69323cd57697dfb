import { Table, Text } from "@mantine/core";

import { toReading } from "./fieldText";
import type { TrainForm } from "./form";

interface Props {
  differences: Record<string, readonly unknown[]>;
  form?: TrainForm;
  preset: string | null;
}

/** What a run does otherwise than its preset. */
export function Differences({ differences, form, preset }: Props) {
  const rows = Object.entries(differences);
  const from = preset ?? "defaults";
  if (rows.length === 0)
    return (
      <Text size="sm" c="dimmed">
        None: all settings are {preset === null ? "the defaults" : `those of the preset ${preset}`}.
      </Text>
    );
  return (
    <Table
      aria-label={`Differences from ${from}`}
      verticalSpacing={4}
      horizontalSpacing="xs"
      data-testid="run-differences"
    >
      <Table.Thead>
        <Table.Tr>
          <Table.Th>Setting</Table.Th>
          <Table.Th>{from}</Table.Th>
          <Table.Th>This run</Table.Th>
        </Table.Tr>
      </Table.Thead>
      <Table.Tbody>
        {rows.map(([path, [usual, used]]) => {
          const field = form?.fields.find((each) => each.path === path);
          return (
            <Table.Tr key={path}>
              <Table.Td>
                <Text size="sm" title={path}>
                  {field?.label ?? path}
                </Text>
              </Table.Td>
              <Table.Td>
                <Text size="sm" c="dimmed">
                  {toReading(usual)}
                </Text>
              </Table.Td>
              <Table.Td>
                <Text size="sm" fw={500}>
                  {toReading(used)}
                </Text>
              </Table.Td>
            </Table.Tr>
          );
        })}
      </Table.Tbody>
    </Table>
  );
}
