import { Button, Tooltip, type ButtonProps } from "@mantine/core";
import type { ComponentPropsWithoutRef } from "react";

import { useCan, type Role } from "@/api/queries";

type Props = ButtonProps &
  Omit<ComponentPropsWithoutRef<"button">, keyof ButtonProps> & {
    needs: Role;
    /** why it cannot be used now, though the role would do */
    because?: string | null;
    "data-testid"?: string;
  };

/** A button for people of a role; others see it disabled, with a tooltip that says which role it takes. */
export function RoleButton({ needs, because, disabled, ...props }: Props) {
  const can = useCan(needs);
  const reason = can ? (because ?? null) : `This needs the role ${needs}. An administrator can give it to you.`;
  if (reason === null) return <Button disabled={disabled} {...props} />;
  return (
    <Tooltip label={reason}>
      {/* aria-disabled keeps it focusable, so that keyboard and screen reader get the reason too */}
      <Button {...props} aria-disabled data-disabled onClick={(event) => event.preventDefault()} />
    </Tooltip>
  );
}
