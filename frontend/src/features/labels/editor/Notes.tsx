import { Alert, Button, Group, Text } from "@mantine/core";
import { IconAlertTriangle, IconPhotoOff } from "@tabler/icons-react";

import { useState } from "react";

import { messageOf } from "@/api/client";
import { plural } from "@/ui/format";
import { useNow } from "@/ui/clock";
import { formatAgo } from "@/ui/format";

import type { Stored } from "./autosave";
import { ConflictDialog } from "./ConflictDialog";
import { useAnnotator, useEditorState } from "./context";
import { draftOf, type Draft } from "./editor";

interface Props {
  /** before anything is saved over somebody who has the labels now */
  takeOver: () => Promise<boolean>;
  /** why frames cannot be loaded */
  frameError: unknown;
  /** who saved last, as far as is known */
  storedBy: string | null;
  storedAt: string | null;
}

/** What the person must decide or know before going on; empty almost always. */
export function Notes({ takeOver, frameError, storedBy, storedAt }: Props) {
  const { editor } = useAnnotator();
  const { save, content } = useEditorState();
  const now = useNow();
  const [comparing, setComparing] = useState(false);
  return (
    <>
      {save.kind === "conflict" && (
        <Alert
          color="red"
          p="xs"
          icon={<IconAlertTriangle size={18} />}
          title="This episode was saved elsewhere while you edited it"
          role="alert"
          data-testid="conflict"
        >
          <Group justify="space-between" gap="sm">
            <Text size="sm">
              There: {textsOf((save.stored as Stored<Draft>).document)}
              {storedBy && `, by ${storedBy}`}
              {storedAt && `, ${formatAgo(new Date(storedAt), new Date(now))}`}. Here:{" "}
              {plural(content.timeline.labels.length, "substep")}. Nothing is lost: taking theirs can be undone.
            </Text>
            <Group gap="xs">
              <Button size="xs" variant="default" onClick={() => setComparing(true)} data-testid="conflict-compare">
                Compare side by side
              </Button>
              <Button size="xs" variant="default" onClick={() => editor.takeTheirs()} data-testid="conflict-theirs">
                Take theirs
              </Button>
              <Button
                size="xs"
                color="red.9"
                onClick={() => void takeOver().then((done) => done && editor.keepMine())}
                data-testid="conflict-mine"
              >
                Keep mine
              </Button>
            </Group>
          </Group>
          <ConflictDialog
            opened={comparing}
            onClose={() => setComparing(false)}
            mine={draftOf(content)}
            theirs={(save.stored as Stored<Draft>).document}
            by={storedBy}
            keep={async (result) => {
              if (!(await takeOver())) return false;
              editor.resolve(result);
              return true;
            }}
          />
        </Alert>
      )}
      {save.kind === "refused" && (
        <Alert color="red" p="xs" icon={<IconAlertTriangle size={18} />} role="alert" data-testid="save-refused">
          Not saved: {save.message} Your edits are kept in this browser; they are saved with the next change.
        </Alert>
      )}
      {frameError !== null && (
        <Alert color="orange" p="xs" icon={<IconPhotoOff size={18} />} data-testid="picture-error">
          Frames cannot be loaded: {messageOf(frameError)}
        </Alert>
      )}
    </>
  );
}

function textsOf({ segments }: Draft): string {
  const labelled = segments.filter(({ text }) => text !== "").length;
  return `${plural(segments.length, "substep")}, ${labelled} with a text`;
}
