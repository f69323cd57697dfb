import { Alert, List, Text } from "@mantine/core";
import type { ReactNode } from "react";

/** Why something was not accepted, with all that was found. */
export function Problems({
  message,
  errors,
  ...props
}: {
  message: ReactNode;
  errors: readonly string[];
  "data-testid"?: string;
}) {
  return (
    <Alert color="red" p="xs" role="alert" {...props}>
      <Text size="sm" style={{ overflowWrap: "anywhere" }}>
        {message}
      </Text>
      {errors.length > 0 && (
        <List size="sm" mt={4}>
          {errors.map((error) => (
            <List.Item key={error}>{error}</List.Item>
          ))}
        </List>
      )}
    </Alert>
  );
}
