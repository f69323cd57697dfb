import { Alert, Anchor, Button, Code, Grid, Group, Stack, Table, Text } from "@mantine/core";
import { IconChecklist, IconDownload, IconInfoCircle, IconTrash, IconTrendingDown } from "@tabler/icons-react";
import { Link, useNavigate, useParams } from "react-router";

import { useEvaluationsOf } from "@/features/evaluations/core/hooks";
import { EvaluationsTable } from "@/features/evaluations/core/EvaluationsTable";
import { StageBadge } from "@/features/training/core/StageBadge";
import { ConfirmButton } from "@/ui/ConfirmButton";
import { Copyable } from "@/ui/Copyable";
import { Facts } from "@/ui/Facts";
import { formatBytes, formatNumber, shortHash } from "@/ui/format";
import { Loaded } from "@/ui/Loaded";
import { PageHeader } from "@/ui/PageHeader";
import { RoleButton } from "@/ui/RoleButton";
import { Section } from "@/ui/Section";
import { Time } from "@/ui/Time";

import { archiveUrl, deleteCheckpoint, fileUrl, useCheckpoint, type CheckpointDetail } from "./core/hooks";
import { Lineage } from "./Lineage";
import { curlCommand } from "./lineage";

export function CheckpointPage() {
  const { id = "" } = useParams();
  const query = useCheckpoint(id);
  return (
    <Loaded query={query} lines={8}>
      {(checkpoint) => <CheckpointView checkpoint={checkpoint} />}
    </Loaded>
  );
}

function CheckpointView({ checkpoint }: { checkpoint: CheckpointDetail }) {
  const evaluations = useEvaluationsOf(checkpoint.id);
  return (
    <>
      <PageHeader
        title={checkpoint.name}
        badge={<StageBadge stage={checkpoint.stage} />}
        path={[
          { label: "Checkpoints", to: "/checkpoints" },
          { label: checkpoint.run_name, to: `/training/${checkpoint.run_id}` },
        ]}
        subtitle={
          <>
            Saved <Time value={checkpoint.created_at} />, {formatBytes(checkpoint.size_bytes)}
            {checkpoint.val_loss !== null && `, held-out loss ${formatNumber(checkpoint.val_loss)}`}
          </>
        }
        actions={<Actions checkpoint={checkpoint} />}
      />
      <Stack gap="md">
        {!checkpoint.available && (
          <Alert
            color="gray"
            icon={<IconInfoCircle size={18} />}
            title="Its files are gone"
            data-testid="checkpoint-gone"
          >
            {checkpoint.deleted_why}. What is known about it stays, for the lineage of what was made from it.
          </Alert>
        )}
        <Section title="Lineage" description="What it was made from, and what became of it.">
          <Lineage checkpoint={checkpoint} evaluations={evaluations.data ?? []} />
        </Section>
        <Grid gap="md">
          <Grid.Col span={{ base: 12, lg: 7 }}>
            <Stack gap="md">
              {(evaluations.data?.length ?? 0) > 0 && (
                <Section title="Evaluations" flush>
                  <EvaluationsTable evaluations={evaluations.data ?? []} of="checkpoint" />
                </Section>
              )}
              <Files checkpoint={checkpoint} />
            </Stack>
          </Grid.Col>
          <Grid.Col span={{ base: 12, lg: 5 }}>
            <Stack gap="md">
              {checkpoint.available && <Download checkpoint={checkpoint} />}
              <Section title="About it">
                <Facts
                  facts={[
                    ["Run", <RunLink key="r" checkpoint={checkpoint} />],
                    ["Attempt", checkpoint.attempt],
                    ["Manifest", <Copyable key="m" value={checkpoint.sha256} short={shortHash(checkpoint.sha256)} />],
                    ["Checkpoint", <Code key="c">{checkpoint.id}</Code>],
                  ]}
                />
              </Section>
            </Stack>
          </Grid.Col>
        </Grid>
      </Stack>
    </>
  );
}

function RunLink({ checkpoint }: { checkpoint: CheckpointDetail }) {
  return (
    <Anchor component={Link} to={`/training/${checkpoint.run_id}`} size="sm">
      {checkpoint.run_name}
    </Anchor>
  );
}

function Actions({ checkpoint }: { checkpoint: CheckpointDetail }) {
  const navigate = useNavigate();
  const gone = checkpoint.available ? null : "Its files are gone.";
  return (
    <>
      <RoleButton
        needs="operator"
        leftSection={<IconChecklist size={16} />}
        because={gone}
        data-testid="checkpoint-evaluate"
        onClick={() => void navigate(`/evaluations/new?checkpoint=${checkpoint.id}`)}
      >
        Evaluate
      </RoleButton>
      <RoleButton
        needs="operator"
        variant="default"
        leftSection={<IconTrendingDown size={16} />}
        because={gone}
        data-testid="checkpoint-train"
        onClick={() => void navigate(`/training/new?checkpoint=${checkpoint.id}`)}
      >
        Train stage 3 from it
      </RoleButton>
      <ConfirmButton
        needs="operator"
        variant="default"
        leftSection={<IconTrash size={16} />}
        because={gone}
        data-testid="checkpoint-delete"
        question={`Delete the files of ${checkpoint.name}?`}
        explanation={
          <>
            {formatBytes(checkpoint.size_bytes)} on the disk are freed, and the files cannot be brought back.
            {checkpoint.evaluations > 0 && " Its evaluations with their videos stay."} The run, its other checkpoints
            and the lineage stay.
          </>
        }
        confirmLabel={`Delete and free ${formatBytes(checkpoint.size_bytes)}`}
        action={() => deleteCheckpoint(checkpoint.id)}
      >
        Delete
      </ConfirmButton>
    </>
  );
}

function Download({ checkpoint }: { checkpoint: CheckpointDetail }) {
  return (
    <Section title="Download" data-testid="checkpoint-download">
      <Stack gap="sm">
        <Button
          component="a"
          href={archiveUrl(checkpoint.id)}
          download={checkpoint.archive_name}
          leftSection={<IconDownload size={16} />}
          data-testid="download-archive"
        >
          Archive, {formatBytes(checkpoint.archive_size)}
        </Button>
        <Facts
          span={3}
          facts={[
            ["File", checkpoint.archive_name],
            [
              "sha256",
              <Copyable
                key="s"
                value={checkpoint.archive_sha256}
                short={`${checkpoint.archive_sha256.slice(0, 20)}...`}
                data-testid="archive-sha256"
              />,
            ],
          ]}
        />
        <div>
          <Text size="sm" fw={500}>
            From a script, or for a large archive
          </Text>
          <Text size="xs" c="dimmed" mb={6}>
            Run it again to resume a download that broke off; it checks what arrived. Put a{" "}
            <Anchor component={Link} to="/settings/tokens" size="xs" underline="always">
              token
            </Anchor>{" "}
            into STUDIO_TOKEN first.
          </Text>
          <Copyable
            block
            label="Copy the command"
            value={curlCommand(
              window.location.origin,
              archiveUrl(checkpoint.id),
              checkpoint.archive_name,
              checkpoint.archive_sha256,
            )}
            data-testid="download-curl"
          />
        </div>
      </Stack>
    </Section>
  );
}

function Files({ checkpoint }: { checkpoint: CheckpointDetail }) {
  return (
    <Section title="Files" flush>
      <Table.ScrollContainer minWidth={480}>
        <Table aria-label="Files" data-testid="checkpoint-files">
          <Table.Thead>
            <Table.Tr>
              <Table.Th>File</Table.Th>
              <Table.Th ta="right">Size</Table.Th>
              <Table.Th>sha256</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {checkpoint.files.map((file) => (
              <Table.Tr key={file.name}>
                <Table.Td>
                  {checkpoint.available ? (
                    <Anchor href={fileUrl(checkpoint.id, file.name)} download={file.name} size="sm">
                      {file.name}
                    </Anchor>
                  ) : (
                    file.name
                  )}
                </Table.Td>
                <Table.Td ta="right">
                  <Text size="sm" style={{ whiteSpace: "nowrap" }}>
                    {formatBytes(file.size)}
                  </Text>
                </Table.Td>
                <Table.Td>
                  <Group gap={4} wrap="nowrap">
                    <Copyable value={file.sha256} short={shortHash(file.sha256)} />
                  </Group>
                </Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Table.ScrollContainer>
    </Section>
  );
}
