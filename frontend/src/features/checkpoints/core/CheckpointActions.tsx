import { ActionIcon, Group, type ActionIconProps } from "@mantine/core";
import { IconChecklist, IconDownload, IconTrendingDown } from "@tabler/icons-react";
import { Link } from "react-router";

import { Tip } from "@/ui/Tip";

import { archiveUrl, type Checkpoint } from "./hooks";

const LOOK: ActionIconProps = { variant: "subtle", color: "gray" };

/** What can be done with a checkpoint whose files are there, as icons for a row of a table. */
export function CheckpointActions({ checkpoint }: { checkpoint: Pick<Checkpoint, "id" | "name"> }) {
  const { id, name } = checkpoint;
  return (
    <Group gap={2} wrap="nowrap" justify="flex-end">
      <Tip label="Evaluate it">
        <ActionIcon
          {...LOOK}
          component={Link}
          to={`/evaluations/new?checkpoint=${id}`}
          aria-label={`Evaluate ${name}`}
          data-testid="evaluate"
        >
          <IconChecklist size={17} />
        </ActionIcon>
      </Tip>
      <Tip label="Train stage 3 from it">
        <ActionIcon
          {...LOOK}
          component={Link}
          to={`/training/new?checkpoint=${id}`}
          aria-label={`Train stage 3 from ${name}`}
          data-testid="train-from"
        >
          <IconTrendingDown size={17} />
        </ActionIcon>
      </Tip>
      <Tip label="Download (.tar)">
        <ActionIcon
          {...LOOK}
          component="a"
          href={archiveUrl(id)}
          download
          aria-label={`Download ${name}`}
          data-testid="download"
        >
          <IconDownload size={17} />
        </ActionIcon>
      </Tip>
    </Group>
  );
}
