import { Alert, Button, Group, Text } from "@mantine/core";
import { IconAlertTriangle } from "@tabler/icons-react";

import { ApiError, messageOf } from "@/api/client";

interface Props {
  /** nothing is shown without one */
  error: unknown;
  title?: string;
  retry?: () => void;
}

/** What went wrong, at the place where it was asked for. */
export function ErrorNote({ error, title, retry }: Props) {
  if (error === null || error === undefined) return null;
  const fields = error instanceof ApiError ? Object.entries(error.fields) : [];
  const message = messageOf(error);
  return (
    <Alert color="red" icon={<IconAlertTriangle size={18} />} title={title} role="alert" data-testid="error-note">
      <Text size="sm" style={{ whiteSpace: "pre-wrap", overflowWrap: "anywhere" }}>
        {message}
      </Text>
      {fields
        .filter(([, complaint]) => !message.includes(complaint))
        .map(([field, complaint]) => (
          <Text key={field} size="sm">
            {field}: {complaint}
          </Text>
        ))}
      {retry && (
        <Group mt="xs">
          <Button size="xs" variant="light" color="red" onClick={retry}>
            Try again
          </Button>
        </Group>
      )}
    </Alert>
  );
}
