import { Skeleton, Stack } from "@mantine/core";
import type { ReactNode } from "react";

import { ErrorNote } from "./ErrorNote";

/** Of a query what is needed to show it. */
export interface Query<Data> {
  data: Data | undefined;
  error: Error | null;
  refetch: () => unknown;
}

interface Props<Data> {
  query: Query<Data>;
  /** rows of the placeholder while nothing is there yet */
  lines?: number;
  children: (data: Data) => ReactNode;
}

/** What a query brought; a placeholder before that, and the error if it failed (above old data, if there are any). */
export function Loaded<Data>({ query, lines = 3, children }: Props<Data>) {
  const { data, error, refetch } = query;
  if (data === undefined && error === null)
    return (
      <Stack gap="xs" aria-busy="true">
        {Array.from({ length: lines }, (_, index) => (
          <Skeleton key={index} height={34} radius="md" />
        ))}
      </Stack>
    );
  return (
    <>
      {error !== null && <ErrorNote error={error} retry={() => void refetch()} />}
      {data !== undefined && children(data)}
    </>
  );
}
