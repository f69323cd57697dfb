import { Grid, Text } from "@mantine/core";
import type { ReactNode } from "react";

interface Props {
  /** label and value; a value of null, undefined or "" leaves the line out */
  facts: readonly (readonly [string, ReactNode])[];
  /** width of the labels, of 12 columns */
  span?: number;
}

/** A list of what there is to know about one thing. */
export function Facts({ facts, span = 4 }: Props) {
  return (
    <Grid component="dl" m={0} gap={6} align="baseline">
      {facts
        .filter(([, value]) => value !== null && value !== undefined && value !== "")
        .map(([label, value]) => (
          <FactLine key={label} label={label} span={span}>
            {value}
          </FactLine>
        ))}
    </Grid>
  );
}

function FactLine({ label, span, children }: { label: string; span: number; children: ReactNode }) {
  return (
    <>
      <Grid.Col component="dt" span={span}>
        <Text size="sm" c="dimmed" span>
          {label}
        </Text>
      </Grid.Col>
      <Grid.Col component="dd" span={12 - span} m={0} style={{ minWidth: 0 }}>
        <Text size="sm" component="div" style={{ overflowWrap: "anywhere" }}>
          {children}
        </Text>
      </Grid.Col>
    </>
  );
}
