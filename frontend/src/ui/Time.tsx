import { Text } from "@mantine/core";

import { useNow } from "./clock";
import { formatAgo, formatSeconds, formatTime } from "./format";
import { Tip } from "./Tip";

/** A moment: relative, with the exact time in the tooltip. */
export function Time({ value }: { value: string | null | undefined }) {
  const now = useNow();
  if (!value) return <>never</>;
  const time = new Date(value);
  return (
    <Tip label={formatTime(time)}>
      <time dateTime={value} style={{ whiteSpace: "nowrap" }}>
        {formatAgo(time, new Date(now))}
      </time>
    </Tip>
  );
}

/** How long something took, or takes until now while `end` is missing. */
export function Duration({ start, end }: { start: string | null | undefined; end?: string | null }) {
  const now = useNow();
  if (!start) return null;
  const seconds = ((end ? new Date(end).getTime() : now) - new Date(start).getTime()) / 1000;
  return (
    <Text span inherit style={{ whiteSpace: "nowrap" }}>
      {formatSeconds(Math.max(0, seconds))}
    </Text>
  );
}
