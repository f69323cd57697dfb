import { Button, Group, Kbd, Text } from "@mantine/core";

import { plural } from "@/ui/format";

import { useAnnotator, useEditorState } from "./context";
import classes from "./annotate.module.css";
import { countProposed } from "./proposals";
import { performAction } from "./shortcuts";

/** What is still to be looked at; nothing while there is nothing. */
export function ProposalBar() {
  const { actions, editor, preferences } = useAnnotator();
  const left = countProposed(useEditorState().content.timeline);
  if (left === 0) return null;
  const button = (id: string, text: string) => (
    <Button
      size="compact-xs"
      variant="default"
      disabled={editor.readOnly}
      rightSection={<Kbd size="xs">{actions.find((each) => each.id === id)?.keys[0] ?? ""}</Kbd>}
      onClick={() => performAction(actions, id)}
      data-testid={`proposal-${id}`}
    >
      {text}
    </Button>
  );
  return (
    <Group gap="xs" wrap="nowrap" className={classes.proposals} data-testid="proposals" data-count={left}>
      <Text size="xs" fw={600} style={{ whiteSpace: "nowrap" }}>
        {plural(left, "proposal")} to look at
      </Text>
      {button("accept", "Accept")}
      {button("reject", "Reject")}
      {button("accept-all", `Accept all at ${Math.round(100 * preferences.acceptAbove)} % or above`)}
    </Group>
  );
}
