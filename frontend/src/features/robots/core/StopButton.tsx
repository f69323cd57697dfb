import { Button, type ButtonProps } from "@mantine/core";
import { IconHandStop } from "@tabler/icons-react";
import type { ComponentPropsWithoutRef } from "react";

import { isSecondClickOfAnother } from "@/ui/clicks";

type Props = ButtonProps &
  Omit<ComponentPropsWithoutRef<"button">, keyof ButtonProps | "onClick" | "children"> & {
    onStop: () => void;
    "data-testid"?: string;
  };

/** The red button. It never waits for anything, has no tooltip to lie over its neighbours, and hears every press. */
export function StopButton({ onStop, ...props }: Props) {
  return (
    <Button
      color="red.8"
      leftSection={<IconHandStop size={24} />}
      {...props}
      onClick={(event) => {
        if (!isSecondClickOfAnother(event)) onStop();
      }}
    >
      Stop
    </Button>
  );
}
