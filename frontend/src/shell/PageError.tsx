import { Button, Container, Group, Stack } from "@mantine/core";
import { isRouteErrorResponse, useRouteError } from "react-router";

import { ErrorNote } from "@/ui/ErrorNote";

/** A page that broke while it was drawn, or whose part could not be loaded (for example after an update). */
export function PageError() {
  const error = useRouteError();
  const shown = isRouteErrorResponse(error) ? new Error(`${error.status} ${error.statusText}`) : error;
  return (
    <Container size="sm" py="xl">
      <Stack>
        <ErrorNote error={shown} title="This page could not be shown" />
        <Group>
          <Button onClick={() => window.location.reload()}>Load the page again</Button>
          <Button variant="default" component="a" href="/">
            Go to the start
          </Button>
        </Group>
      </Stack>
    </Container>
  );
}
