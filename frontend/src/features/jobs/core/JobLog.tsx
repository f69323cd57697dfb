import { Button, Group, ScrollArea, Text } from "@mantine/core";
import { IconArrowDown } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { useLayoutEffect, useRef, useState } from "react";

import { api, ok } from "@/api/client";
import { queryClient } from "@/api/queries";
import { notifyError } from "@/ui/confirm";
import { ErrorNote } from "@/ui/ErrorNote";
import { formatBytes } from "@/ui/format";

import classes from "./JobLog.module.css";
import { append, EMPTY, prepend, settled, type Tail } from "./log";

const FIRST_BYTES = 20_000;
const EARLIER_BYTES = 100_000;

interface Props {
  jobId: string;
  /** the job is not over: more will come */
  live: boolean;
  height?: number | string;
}

function useTail(jobId: string, live: boolean) {
  const queryKey = ["job", "log", jobId];
  const held = () => queryClient.getQueryData<Tail>(queryKey) ?? EMPTY;
  const get = (offset: number, limit?: number) =>
    ok(api.GET("/api/jobs/{job_id}/log", { params: { path: { job_id: jobId }, query: { offset, limit } } }));
  const { data: tail = EMPTY, error } = useQuery({
    queryKey,
    queryFn: async () => {
      const { end } = held();
      let chunk = await get(end > 0 ? end : -FIRST_BYTES);
      if (chunk.size < end) chunk = await get(-FIRST_BYTES); // begun anew
      return append(held(), chunk);
    },
    refetchInterval: live ? 1_500 : false,
    staleTime: 0,
    structuralSharing: false,
  });
  const earlier = async () => {
    const { start } = held();
    const offset = Math.max(0, start - EARLIER_BYTES);
    const chunk = await get(offset, start - offset);
    queryClient.setQueryData<Tail>(queryKey, (now) => prepend(now ?? EMPTY, chunk));
  };
  return { tail, error, earlier };
}

/** The end of a job's log. Follows what is written until the person scrolls up. */
export function JobLog({ jobId, live, height = 420 }: Props) {
  const { tail, error, earlier } = useTail(jobId, live);
  const viewport = useRef<HTMLDivElement>(null);
  const [following, setFollowing] = useState(true);

  useLayoutEffect(() => {
    if (following) viewport.current?.scrollTo({ top: viewport.current.scrollHeight });
  }, [tail, following]);

  return (
    <div className={classes.frame} data-testid="job-log">
      <ErrorNote error={error} />
      <ScrollArea
        h={tail.text === "" && !live ? undefined : height}
        type="auto"
        viewportRef={viewport}
        viewportProps={{ tabIndex: 0, role: "log", "aria-label": "Log" }}
        onScrollPositionChange={({ y }) => {
          const view = viewport.current;
          if (view) setFollowing(y + view.clientHeight >= view.scrollHeight - 24);
        }}
      >
        {tail.start > 0 && (
          <Group px="sm" pt="sm">
            <Button
              size="compact-xs"
              variant="default"
              onClick={() => earlier().catch((problem: unknown) => notifyError(problem))}
            >
              Load earlier lines ({formatBytes(tail.start)} before this)
            </Button>
          </Group>
        )}
        {tail.text === "" ? (
          <Text size="sm" c="dimmed" p="sm">
            {live ? "Nothing is written yet." : "This job wrote no log."}
          </Text>
        ) : (
          <pre className={classes.text}>{settled(tail.text)}</pre>
        )}
      </ScrollArea>
      {!following && (
        <Button
          className={classes.follow}
          size="compact-sm"
          leftSection={<IconArrowDown size={14} />}
          onClick={() => setFollowing(true)}
        >
          {live ? "Follow" : "To the end"}
        </Button>
      )}
    </div>
  );
}
