import { Button } from "@mantine/core";
import { IconMapOff } from "@tabler/icons-react";
import { Link, useLocation } from "react-router";

import { EmptyState } from "@/ui/EmptyState";

export function NotFound() {
  const { pathname } = useLocation();
  return (
    <EmptyState
      icon={IconMapOff}
      title="There is no such page"
      action={
        <Button component={Link} to="/">
          Go to the start
        </Button>
      }
    >
      There is nothing at {pathname}. It may have been deleted, or the link may be cut off.
    </EmptyState>
  );
}
