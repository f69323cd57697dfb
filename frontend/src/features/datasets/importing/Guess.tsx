import { Badge } from "@mantine/core";

/** Marks what nobody said. */
export function Guess({ shown = true }: { shown?: boolean }) {
  if (!shown) return null;
  return (
    <Badge color="yellow" variant="light" size="sm" data-testid="import-guess">
      guess
    </Badge>
  );
}
