import { Anchor, Button, List, Popover, Text, Tooltip } from "@mantine/core";
import { useHotkeys } from "@mantine/hooks";
import { useState } from "react";

import { plural } from "@/ui/format";

import { useAnnotator } from "./context";
import type { Problem } from "@/features/labels/core/timeline";

interface Props {
  problems: readonly Problem[];
  /** nothing changed since the last revision */
  current: boolean;
  busy: boolean;
  /** labels are submitted, somebody else approves them */
  review: boolean;
  publish: () => void;
}

/** Make a revision; what keeps it from that is listed, each with a way to its place. */
export function PublishButton({ problems, current, busy, review, publish }: Props) {
  const { editor, playback } = useAnnotator();
  const [opened, setOpened] = useState(false);
  // from wherever the focus is: it reaches the list only a moment after the list is seen
  useHotkeys([["Escape", () => setOpened(false)]], []);
  const verb = review ? "Submit" : "Publish";
  const errors = problems.filter(({ level }) => level === "error");
  const warnings = problems.filter(({ level }) => level === "warning");

  const goTo = (segment: number) => {
    playback.player.pause();
    playback.player.seek(editor.timeline.boundaries[segment] ?? 0);
    setOpened(false);
  };
  const button = (
    <Button
      size="xs"
      loading={busy}
      disabled={editor.readOnly}
      variant={current ? "light" : "filled"}
      onClick={() => {
        if (errors.length > 0) setOpened(!opened);
        else publish();
      }}
      data-testid="publish"
      data-current={current || undefined}
    >
      {errors.length > 0 ? `${verb} (${errors.length} open)` : current ? "Published" : verb}
    </Button>
  );
  return (
    <Popover trapFocus opened={opened} onChange={setOpened} position="bottom-end" width={340} withArrow>
      <Popover.Target>
        {errors.length > 0 ? (
          button
        ) : (
          <Tooltip
            label={
              warnings.length > 0
                ? `${plural(warnings.length, "warning")}, marked in the list. Labels can be ${review ? "submitted" : "published"} all the same.`
                : review
                  ? "Submit the labels for review. Ctrl+Enter also opens the next episode."
                  : "Publish a label revision; the next dataset version takes it into training. Ctrl+Enter also opens the next episode."
            }
          >
            {button}
          </Tooltip>
        )}
      </Popover.Target>
      <Popover.Dropdown data-testid="publish-problems">
        <Text size="sm" fw={600} mb={4}>
          Before it can be {review ? "submitted" : "published"}
        </Text>
        <List size="sm">
          {errors.slice(0, 12).map(({ segment, message }) => (
            <List.Item key={segment}>
              <Anchor component="button" type="button" size="sm" onClick={() => goTo(segment)}>
                Substep {segment + 1}
              </Anchor>{" "}
              {message}
            </List.Item>
          ))}
        </List>
        {errors.length > 12 && <Text size="sm">and {errors.length - 12} more</Text>}
      </Popover.Dropdown>
    </Popover>
  );
}
