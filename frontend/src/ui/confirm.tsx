import { Text } from "@mantine/core";
import { modals } from "@mantine/modals";
import { notifications } from "@mantine/notifications";
import type { ReactNode } from "react";

import { messageOf } from "@/api/client";

interface Question {
  title: string;
  /** what happens, and what stays safe */
  children: ReactNode;
  confirm: string;
  /** runs when confirmed; an error is shown as a notification */
  action: () => unknown;
  danger?: boolean;
}

/** Ask before something that cannot be undone. */
export function confirm({ title, children, confirm, action, danger = true }: Question): void {
  modals.openConfirmModal({
    title,
    children: (
      <Text size="sm" component="div">
        {children}
      </Text>
    ),
    labels: { confirm, cancel: "Keep as it is" },
    confirmProps: { ...(danger ? { color: "red" } : {}), ["data-testid" as never]: "confirm-yes" },
    cancelProps: { ["data-testid" as never]: "confirm-no", "data-autofocus": true } as never,
    onConfirm: () => {
      Promise.resolve()
        .then(action)
        .catch((error: unknown) => notifyError(error));
    },
  });
}

/** Whether the person said yes; closing the question is a no. */
export function ask({
  title,
  children,
  confirm: yes,
}: Pick<Question, "title" | "children" | "confirm">): Promise<boolean> {
  return new Promise((resolve) => {
    modals.openConfirmModal({
      title,
      children: (
        <Text size="sm" component="div">
          {children}
        </Text>
      ),
      labels: { confirm: yes, cancel: "Not yet" },
      confirmProps: { ["data-testid" as never]: "confirm-yes" },
      cancelProps: { ["data-testid" as never]: "confirm-no", "data-autofocus": true } as never,
      onConfirm: () => resolve(true),
      onClose: () => resolve(false), // after a yes it says no more
    });
  });
}

/** An error that has no better place on the page. */
export function notifyError(error: unknown, title = "That did not work"): void {
  notifications.show({ color: "red", title, message: messageOf(error), autoClose: 12_000 });
}

/** Something was done that the page itself does not show. */
export function notifyDone(message: string): void {
  notifications.show({ color: "teal", message, autoClose: 4_000 });
}
