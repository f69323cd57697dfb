import { Group } from "@mantine/core";
import type { ReactNode } from "react";

import { Guess } from "./Guess";
import classes from "./importing.module.css";

/** One thing that a file may not say. */
export function Question({ title, guess = false, children }: { title: string; guess?: boolean; children: ReactNode }) {
  return (
    <fieldset className={classes.question}>
      <legend>
        <Group gap="xs">
          {title}
          <Guess shown={guess} />
        </Group>
      </legend>
      <div>{children}</div>
    </fieldset>
  );
}
