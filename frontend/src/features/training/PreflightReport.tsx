import { Alert, Box, Group, List, Progress, Stack, Text, Tooltip } from "@mantine/core";
import { IconAlertTriangle, IconCircleCheck } from "@tabler/icons-react";

import { formatBytes } from "@/ui/format";

import { readPreflight } from "./preflight";

const COLORS = ["studio.6", "teal.6", "yellow.6", "grape.6", "orange.6"];

/** What a look at data and model found: memory by part, disk, and what is odd. */
export function PreflightReport({ report }: { report: Record<string, unknown> }) {
  const { ok, errors, notes, memory, memoryTotal, disk } = readPreflight(report);
  return (
    <Stack gap="sm" data-testid="preflight-report" data-ok={ok}>
      {errors.length > 0 ? (
        <Alert color="red" icon={<IconAlertTriangle size={18} />} title="It would not start">
          <List size="sm" spacing={4}>
            {errors.map((text) => (
              <List.Item key={text}>{text}</List.Item>
            ))}
          </List>
        </Alert>
      ) : (
        <Group gap={6} wrap="nowrap" align="flex-start">
          <IconCircleCheck size={18} color="var(--mantine-color-teal-filled)" style={{ flexShrink: 0, marginTop: 1 }} />
          <Text size="sm" fw={500}>
            Data and model load, and the run would start.
          </Text>
        </Group>
      )}
      {memoryTotal !== null && (
        <Box>
          <Text size="sm" fw={500}>
            Memory: about {formatBytes(memoryTotal)} on each GPU (or the CPU)
          </Text>
          <Progress.Root size="lg" mt={4} aria-label="Memory by part">
            {memory.map(({ name, bytes }, index) => (
              <Tooltip key={name} label={`${name}: ${formatBytes(bytes)}`}>
                <Progress.Section
                  value={memoryTotal > 0 ? (100 * bytes) / memoryTotal : 0}
                  color={COLORS[index % COLORS.length]}
                  aria-label={`${name}: ${formatBytes(bytes)}`}
                />
              </Tooltip>
            ))}
          </Progress.Root>
          <Group gap="4px 12px" mt={6}>
            {memory.map(({ name, bytes }, index) => (
              <Group key={name} gap={5} wrap="nowrap">
                <Box w={9} h={9} bg={COLORS[index % COLORS.length]} style={{ borderRadius: 2 }} />
                <Text size="xs">
                  {name}{" "}
                  <Text span size="xs" c="dimmed">
                    {formatBytes(bytes)}
                  </Text>
                </Text>
              </Group>
            ))}
          </Group>
        </Box>
      )}
      {disk !== null && (
        <Text size="sm">
          Disk: {formatBytes(disk.needed)} needed,{" "}
          <Text span size="sm" c={disk.free < disk.needed ? "red" : "dimmed"}>
            {formatBytes(disk.free)} free
          </Text>
        </Text>
      )}
      {notes.length > 0 && (
        <Box>
          <Text size="sm" fw={500}>
            Notes
          </Text>
          <List size="xs" spacing={4}>
            {notes.map((text) => (
              <List.Item key={text}>{text}</List.Item>
            ))}
          </List>
        </Box>
      )}
    </Stack>
  );
}
