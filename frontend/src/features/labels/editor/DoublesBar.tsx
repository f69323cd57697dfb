import { Alert, Button, Group, Text, Tooltip } from "@mantine/core";
import { IconUsers } from "@tabler/icons-react";
import { useState } from "react";

import { storedOf, type DraftOut } from "./api";
import { ConflictDialog } from "./ConflictDialog";
import { differences } from "./conflict";
import { useAnnotator, useEditorState } from "./context";
import { draftOf } from "./editor";
import { plural } from "@/ui/format";

interface Props {
  draft: DraftOut;
  /** what the second person submitted, who did not see the first's labels */
  second: DraftOut;
}

/** An episode that two people labelled without each other: where they differ, and one labelling out of both. */
export function DoublesBar({ draft, second }: Props) {
  const { editor, locked } = useAnnotator();
  const { content } = useEditorState();
  const [comparing, setComparing] = useState(false);
  const mine = draftOf(content);
  const theirs = storedOf(second).document;
  const found = differences(mine.segments, theirs.segments).length;
  const names = { here: draft.submitted_by_name ?? "First", by: second.submitted_by_name ?? "Second" };
  return (
    <Alert color="blue" p="xs" icon={<IconUsers size={18} />} data-testid="doubles" data-count={found}>
      <Group justify="space-between" gap="sm">
        <Text size="sm">
          {names.here} and {names.by} labelled this episode without seeing each other&apos;s labels:{" "}
          {found === 0 ? "the same texts at every step" : plural(found, "difference")}.
        </Text>
        <Tooltip label={locked} disabled={locked === null}>
          <Button
            size="xs"
            variant="default"
            disabled={found === 0}
            onClick={() => setComparing(true)}
            data-testid="doubles-compare"
          >
            Compare and merge
          </Button>
        </Tooltip>
      </Group>
      <ConflictDialog
        opened={comparing}
        onClose={() => setComparing(false)}
        mine={mine}
        theirs={theirs}
        {...names}
        keep={(result) => {
          editor.change(() => result);
          return Promise.resolve(locked === null);
        }}
      />
    </Alert>
  );
}
