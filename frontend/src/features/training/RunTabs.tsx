import { Anchor, Button, Grid, ScrollArea, Stack, Table, Text, TextInput } from "@mantine/core";
import { IconDownload, IconSearch } from "@tabler/icons-react";
import { useState } from "react";
import { Link } from "react-router";

import { Copyable } from "@/ui/Copyable";
import { formatCount, formatPercent, shortHash } from "@/ui/format";
import { Section } from "@/ui/Section";

import { flat } from "./compare";
import { Differences } from "./Differences";
import { toReading } from "./fieldText";
import { shares } from "./core/shares";
import { useTrainForm, type RunDetail } from "./hooks";
import { useVersions } from "@/features/datasets/core/versions";
import { Recipe } from "./Recipe";

/** Differences from the preset first, then the whole spec, and the same as command and file. */
export function RunSpec({ run }: { run: RunDetail }) {
  const form = useTrainForm().data;
  const [words, setWords] = useState("");
  const rows = Object.entries(flat(run.spec)).filter(([path]) => {
    const label = form?.fields.find((field) => field.path === path)?.label ?? "";
    return `${path} ${label}`.toLowerCase().includes(words.toLowerCase().trim());
  });
  return (
    <Grid gap="md" data-testid="run-spec">
      <Grid.Col span={{ base: 12, lg: 6 }}>
        <Stack gap="md">
          <Section title={run.preset === null ? "Changes from the defaults" : `Changes from the preset ${run.preset}`}>
            <Differences differences={run.differences} form={form} preset={run.preset} />
          </Section>
          <Section
            title="Without the studio"
            actions={
              <Button
                component="a"
                href={`/api/runs/${run.id}/spec.yaml`}
                download
                size="xs"
                variant="default"
                leftSection={<IconDownload size={14} />}
                data-testid="spec-download"
              >
                Spec file
              </Button>
            }
          >
            <Recipe command={run.command} commandManyGpus={run.command_many_gpus} yaml={run.spec_yaml} height={420} />
          </Section>
        </Stack>
      </Grid.Col>
      <Grid.Col span={{ base: 12, lg: 6 }}>
        <Section
          title="Whole spec"
          description="Every field as it is used."
          actions={
            <TextInput
              aria-label="Search the spec"
              placeholder="Search"
              size="xs"
              w={180}
              leftSection={<IconSearch size={14} />}
              value={words}
              onChange={(event) => setWords(event.currentTarget.value)}
            />
          }
        >
          <ScrollArea.Autosize mah="max(420px, calc(100vh - 380px))" type="auto">
            <Table verticalSpacing={4} aria-label="Whole spec">
              <Table.Tbody>
                {rows.map(([path, value]) => (
                  <Table.Tr key={path}>
                    <Table.Td w="45%">
                      <Text size="sm" ff="monospace" style={{ overflowWrap: "anywhere" }}>
                        {path}
                      </Text>
                    </Table.Td>
                    <Table.Td>
                      <Text size="sm" style={{ overflowWrap: "anywhere" }}>
                        {toReading(value)}
                      </Text>
                    </Table.Td>
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
          </ScrollArea.Autosize>
        </Section>
      </Grid.Col>
    </Grid>
  );
}

/** The versions it trains on, by hash. */
export function RunData({ run }: { run: RunDetail }) {
  const versions = useVersions().data ?? [];
  const parts = shares(run.sources.map(({ weight }) => weight));
  return (
    <Section title="Dataset versions" description="They never change: episodes with the labels as they were." flush>
      <Table.ScrollContainer minWidth={640}>
        <Table aria-label="Dataset versions" data-testid="run-data-table">
          <Table.Thead>
            <Table.Tr>
              <Table.Th>Version</Table.Th>
              <Table.Th ta="right">Share of the samples</Table.Th>
              <Table.Th ta="right">Episodes</Table.Th>
              <Table.Th ta="right">Steps</Table.Th>
              <Table.Th ta="right">Labelled</Table.Th>
              <Table.Th>Cameras</Table.Th>
              <Table.Th>sha256 of the manifest</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {run.sources.map((source, index) => {
              const version = versions.find(({ id }) => id === source.version_id);
              return (
                <Table.Tr key={source.version_id}>
                  <Table.Td>
                    <Anchor component={Link} to={`/datasets/${source.dataset_id}`} size="sm" fw={500}>
                      {source.dataset_name} v{source.number}
                    </Anchor>
                  </Table.Td>
                  <Table.Td ta="right">
                    {formatPercent(parts[index] ?? 0)}{" "}
                    <Text span size="xs" c="dimmed">
                      weight {source.weight}
                    </Text>
                  </Table.Td>
                  <Table.Td ta="right">{version ? formatCount(version.episodes) : "-"}</Table.Td>
                  <Table.Td ta="right">{version ? formatCount(version.steps) : "-"}</Table.Td>
                  <Table.Td ta="right">
                    {version && version.steps > 0 ? formatPercent(version.labelled_steps / version.steps) : "-"}
                  </Table.Td>
                  <Table.Td>{version?.cameras.join(", ") ?? "-"}</Table.Td>
                  <Table.Td>
                    <Copyable value={source.manifest_sha256} short={shortHash(source.manifest_sha256)} />
                  </Table.Td>
                </Table.Tr>
              );
            })}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </Section>
  );
}
