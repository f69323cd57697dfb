import type { ComponentProps, ReactNode } from "react";

import { confirm } from "./confirm";
import { RoleButton } from "./RoleButton";

type Props = Omit<ComponentProps<typeof RoleButton>, "onClick" | "title"> & {
  question: string;
  /** what happens, and what stays safe */
  explanation: ReactNode;
  confirmLabel: string;
  /** it takes something away for good */
  danger?: boolean;
  action: () => unknown;
};

/** A button that asks before it acts. */
export function ConfirmButton({ question, explanation, confirmLabel, danger = true, action, ...props }: Props) {
  return (
    <RoleButton
      {...props}
      onClick={() => confirm({ title: question, children: explanation, confirm: confirmLabel, danger, action })}
    />
  );
}
