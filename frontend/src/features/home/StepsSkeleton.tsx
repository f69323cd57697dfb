import { Card, Skeleton, Stack } from "@mantine/core";

/** As high as the steps that come, so that nothing jumps. */
export function StepsSkeleton() {
  return (
    <Card aria-busy="true">
      <Stack gap="md">
        <Skeleton height={40} w="50%" />
        {Array.from({ length: 8 }, (_, index) => (
          <Skeleton key={index} height={46} />
        ))}
      </Stack>
    </Card>
  );
}
