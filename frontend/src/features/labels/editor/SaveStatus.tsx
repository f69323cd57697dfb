import { Button, Group, Text, Tooltip } from "@mantine/core";
import { IconAlertTriangle, IconCloudCheck, IconCloudOff, IconCloudUpload } from "@tabler/icons-react";
import { useEffect, useState } from "react";

import { saveText, type SaveState } from "./autosave";
import { useAnnotator, useEditorState } from "./context";

const ICONS: Record<SaveState["kind"], typeof IconCloudCheck> = {
  saved: IconCloudCheck,
  pending: IconCloudUpload,
  saving: IconCloudUpload,
  offline: IconCloudOff,
  conflict: IconAlertTriangle,
  refused: IconAlertTriangle,
};

/** Dark enough to be read on light, and light enough on dark. */
const WARNING = "light-dark(#a63a00, var(--mantine-color-orange-4))";
const DANGER = "light-dark(var(--mantine-color-red-9), var(--mantine-color-red-4))";
const COLORS: Partial<Record<SaveState["kind"], string>> = { offline: WARNING, conflict: DANGER, refused: DANGER };

/** One line: is what I did safe? */
export function SaveStatus() {
  const { editor, locked } = useAnnotator();
  const { save } = useEditorState();
  const now = useSeconds();
  const Icon = ICONS[save.kind];
  const color = COLORS[save.kind] ?? "var(--mantine-color-dimmed)";
  if (locked !== null)
    return (
      <Tooltip label={locked}>
        <Text size="xs" c="dimmed" data-testid="save-status" data-state="read-only">
          Read only
        </Text>
      </Tooltip>
    );
  return (
    <Group gap={6} wrap="nowrap" miw={120} data-testid="save-status" data-state={save.kind} aria-live="polite">
      <Icon size={16} color={color} />
      <Tooltip label={"message" in save ? save.message : "Every edit is saved by itself."}>
        <Text size="xs" c={color} style={{ whiteSpace: "nowrap" }}>
          {saveText(save, now)}
        </Text>
      </Tooltip>
      {(save.kind === "offline" || save.kind === "refused") && (
        <Button size="compact-xs" variant="subtle" onClick={editor.autosave.retry}>
          Try again
        </Button>
      )}
    </Group>
  );
}

function useSeconds(): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  return now;
}
