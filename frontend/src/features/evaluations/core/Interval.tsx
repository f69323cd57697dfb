import { Box, Tooltip } from "@mantine/core";

import { formatPercent } from "@/ui/format";

import classes from "./Interval.module.css";

interface Props {
  rate: number;
  /** low and high */
  interval: readonly number[] | null;
  compact?: boolean;
}

/** A share on the scale from 0 to 100 %, with its 95 % interval. */
export function Interval({ rate, interval, compact = false }: Props) {
  const [low = rate, high = rate] = interval ?? [];
  const text = interval
    ? `${formatPercent(rate)}; 95 % interval ${formatPercent(low)} to ${formatPercent(high)}`
    : formatPercent(rate);
  return (
    <Tooltip label={text}>
      <Box role="img" aria-label={text} className={classes.frame} mod={{ compact }}>
        <div className={classes.track}>
          <div className={classes.band} style={{ left: `${low * 100}%`, width: `${(high - low) * 100}%` }} />
          <div className={classes.mark} style={{ left: `${rate * 100}%` }} />
        </div>
        {!compact && (
          <div className={classes.scale} aria-hidden>
            <span>0 %</span>
            <span>50 %</span>
            <span>100 %</span>
          </div>
        )}
      </Box>
    </Tooltip>
  );
}
