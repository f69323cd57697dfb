import { Button, Group, Paper, Stack, Text, Textarea } from "@mantine/core";
import { IconArrowBackUp, IconCheck } from "@tabler/icons-react";
import { useState } from "react";

import { useCan, useMe } from "@/api/queries";
import type { DraftOut } from "./api";
import { useAnnotator } from "./context";
import { WorkBadge } from "@/features/labels/core/WorkBadge";
import { ErrorNote } from "@/ui/ErrorNote";
import { focusOn } from "@/ui/focus";
import { plural } from "@/ui/format";
import { Time } from "@/ui/Time";

import { useReopen, useSendBack, useVerdict } from "./judging";

interface Props {
  draft: DraftOut;
  /** approve, publish and open what waits next */
  approve: () => void;
  approving: boolean;
}

/** Above labels that were submitted or judged: how they stand, and what this person can do about it. */
export function ReviewBar({ draft, approve, approving }: Props) {
  const { episode, about } = useAnnotator();
  const me = useMe();
  const operator = useCan("operator");
  const verdict = useVerdict(episode.id, about, draft).data ?? null;
  const sending = useSendBack(episode.id, about);
  const reopen = useReopen(episode.id, about);
  const [why, setWhy] = useState<string | null>(null);
  const open = draft.notes.filter(({ resolved_at }) => resolved_at === null).length;
  const { state } = draft;
  if (state !== "submitted" && state !== "approved" && state !== "rejected") return null;

  const own = draft.submitted_by_id === me?.id || draft.assignee_id === me?.id;
  const may = draft.rater === 0 && state !== "rejected" && ((own && state !== "approved") || operator);
  const sendBack = () =>
    sending.mutate(
      { edit: draft.edit, comment: why?.trim() || "See the comments on substeps." },
      { onSuccess: () => setWhy(null) },
    );
  return (
    <Paper withBorder px="xs" py={6} mb={6} data-testid="review" data-state={state}>
      <Stack gap={6}>
        <Group justify="space-between" gap="sm">
          <Group gap="xs" style={{ flex: 1, minWidth: 0 }}>
            <WorkBadge state={state} />
            <Text size="sm" style={{ flex: 1, minWidth: 0 }} data-testid="review-text">
              {state === "submitted" && (
                <>
                  {own ? "You" : (draft.submitted_by_name ?? "Somebody")} submitted these labels.{" "}
                  {draft.may_review ? "Q comments on the substep under the playhead." : "Somebody else looks at them."}
                </>
              )}
              {state !== "submitted" && verdict && (
                <>
                  {verdict.by_name ?? "Somebody"} {state === "approved" ? "approved them" : "sent them back"}{" "}
                  <Time value={verdict.created_at} />
                  {verdict.comment && <>: {verdict.comment}</>}
                </>
              )}
              {open > 0 && <b> {plural(open, "open comment")}.</b>}
            </Text>
          </Group>
          <Group gap="xs" wrap="nowrap">
            {may && (
              <Button
                size="compact-sm"
                variant="default"
                leftSection={<IconArrowBackUp size={16} />}
                loading={reopen.isPending}
                onClick={() => reopen.mutate()}
                data-testid="review-reopen"
              >
                {state === "submitted" && own ? "Take back" : "Edit them"}
              </Button>
            )}
            {draft.may_review && (
              <>
                <Button
                  size="compact-sm"
                  variant="default"
                  onClick={() => setWhy(why === null ? "" : null)}
                  aria-expanded={why !== null}
                  data-testid="review-back"
                >
                  Send back
                </Button>
                <Button
                  size="compact-sm"
                  leftSection={<IconCheck size={16} />}
                  loading={approving}
                  onClick={approve}
                  data-testid="review-approve"
                >
                  Approve and publish
                </Button>
              </>
            )}
          </Group>
        </Group>
        {why !== null && (
          <Group gap="xs" align="flex-end">
            <Textarea
              style={{ flex: 1 }}
              size="xs"
              autosize
              maxRows={5}
              ref={focusOn}
              maxLength={4000}
              label="What should change?"
              description={open > 0 ? "Your comments on substeps are sent too; this may stay empty." : undefined}
              value={why}
              onChange={(event) => setWhy(event.currentTarget.value)}
              onKeyDown={(event) => {
                if (event.key === "Escape") setWhy(null);
              }}
              data-testid="review-why"
            />
            <Button
              size="xs"
              color="red"
              loading={sending.isPending}
              disabled={why.trim() === "" && open === 0}
              onClick={sendBack}
              data-testid="review-send"
            >
              Send back
            </Button>
          </Group>
        )}
        <ErrorNote error={sending.error ?? reopen.error} />
      </Stack>
    </Paper>
  );
}
