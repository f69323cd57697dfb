import { Box } from "@mantine/core";

import { formatPercent } from "@/ui/format";
import { Tip } from "@/ui/Tip";

import classes from "./Interval.module.css";

interface Props {
  rate: number;
  /** low and high */
  interval: readonly number[] | null;
  compact?: boolean;
}

/** A share as a bar on the scale from 0 to 100 %, its 95 % interval as a whisker: nothing is filled at 0 %. */
export function Interval({ rate, interval, compact = false }: Props) {
  const [low = rate, high = rate] = interval ?? [];
  const text = interval
    ? `${formatPercent(rate)}; 95 % interval ${formatPercent(low)} to ${formatPercent(high)}`
    : formatPercent(rate);
  return (
    <Tip label={text}>
      <Box role="img" aria-label={text} className={classes.frame} mod={{ compact }}>
        <div className={classes.track}>
          <div className={classes.bar} style={{ width: `${rate * 100}%` }} data-testid="interval-bar" />
          {interval && (
            <div
              className={classes.whisker}
              style={{ left: `${low * 100}%`, width: `${(high - low) * 100}%` }}
              data-testid="interval-whisker"
            />
          )}
        </div>
        {!compact && (
          <div className={classes.scale} aria-hidden>
            <span>0 %</span>
            <span>50 %</span>
            <span>100 %</span>
          </div>
        )}
      </Box>
    </Tip>
  );
}
