import { Progress, Text } from "@mantine/core";
import type { ReactNode } from "react";

import { formatCount, formatPercent } from "@/ui/format";

import classes from "@/features/labels/core/labelling.module.css";

interface Row {
  key: string;
  label: ReactNode;
  count: number;
  color?: string;
}

/** Counts under each other, each with a bar as long as its part of the largest. */
export function Bars({ label, rows, testid }: { label: string; rows: readonly Row[]; testid?: string }) {
  const most = Math.max(1, ...rows.map(({ count }) => count));
  return (
    <dl className={classes.bars} aria-label={label}>
      {rows.map(({ key, label: name, count, color }) => (
        <div key={key} data-testid={testid} data-key={key} data-count={count}>
          <dt>{name}</dt>
          <dd>{formatCount(count)}</dd>
          <Progress value={(100 * count) / most} color={color} size="sm" aria-hidden />
        </div>
      ))}
    </dl>
  );
}

/** A part of a whole, with its figures. share: 0 .. 1. */
export function Share({ label, share, text, testid }: { label: string; share: number; text: string; testid?: string }) {
  return (
    <div data-testid={testid} data-share={share.toFixed(4)}>
      <Text size="sm" fw={600}>
        {label}: {formatPercent(share)}
      </Text>
      <Progress value={100 * share} size="md" aria-label={label} my={4} />
      <Text size="xs" c="dimmed">
        {text}
      </Text>
    </div>
  );
}
