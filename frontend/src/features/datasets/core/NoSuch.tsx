import { Button } from "@mantine/core";
import type { ComponentType } from "react";
import { Link } from "react-router";

import { EmptyState } from "@/ui/EmptyState";

interface Props {
  what: "dataset" | "episode";
  icon: ComponentType<{ size?: number | string; stroke?: number }>;
}

/** Where a dataset or an episode that is gone was asked for. */
export function NoSuch({ what, icon }: Props) {
  return (
    <EmptyState
      icon={icon}
      title={`There is no such ${what}`}
      action={
        <Button component={Link} to="/datasets" variant="default">
          All datasets
        </Button>
      }
    >
      It was deleted, or the link is wrong.
    </EmptyState>
  );
}
